import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Provider } from '../../config/provider.ts';
import { RetryBudget } from '../retry-budget.ts';
import type { BreakerState } from './breaker.ts';
import { type GatedProvider, ProviderGate } from './provider-gate.ts';

/** The gates that are kept: names of models come from clients. Beyond that one that is idle is forgotten: see `#forgetOne`. */
const maxGates = 1000;

interface ProviderGatesOptions {
  readonly clock: ServerClock;
  /** Whether clients' keys are for this gateway, so that no provider gets one. */
  readonly areKeysOurs: boolean;
  /** A breaker has changed. */
  readonly onChange: (gate: ProviderGate, state: BreakerState, why: string) => void;
}

/** The gates of all models of all providers that have one. */
export class ProviderGates {
  readonly #options: ProviderGatesOptions;
  /** The longest unused first. */
  readonly #gates = new Map<string, ProviderGate>();
  /** The providers of the latest reload. Requests that came before it still have those that were there then. */
  #providers: ReadonlyMap<string, Provider> = new Map();
  readonly #budgets = new Map<string, RetryBudget>();
  /** By the name of a provider: how often another target was asked, because this one could not take a request, failed, or was left out. */
  readonly fallbacks = new Map<string, number>();
  /** By the name of a provider: the requests that it was not asked for. */
  readonly refusals = new Map<string, number>();

  constructor(options: ProviderGatesOptions) {
    this.#options = options;
  }

  [Symbol.iterator](): Iterator<ProviderGate> {
    return this.#gates.values();
  }

  /** The gate of a model, as the provider names it; `undefined`: nothing stands before that provider. */
  find(asked: Provider, model = ''): ProviderGate | undefined {
    const provider = this.#providers.get(keyOf(asked)) ?? asked;
    // Who configures nothing of this pays nothing.
    if (this.#gates.size === 0 && isFree(provider)) return undefined;
    const key = `${keyOf(asked)} ${model}`;
    const found = this.#gates.get(key);
    // What has lost its bounds is counted on: they may come back.
    if (found === undefined && isFree(provider)) return undefined;
    if (found !== undefined) this.#gates.delete(key);
    const gate = found ?? this.#open(provider, model);
    this.#gates.set(key, gate);
    if (this.#gates.size > maxGates) this.#forgetOne(gate);
    return gate;
  }

  /** Puts other settings in force, for all requests: those that wait for a place, too. */
  renew(providers: readonly Provider[]): void {
    this.#providers = new Map(providers.map((provider) => [keyOf(provider), provider]));
    for (const [key, gate] of this.#gates) {
      const provider = this.#providers.get(keyOf(gate.provider));
      if (gate.isIdle && (provider === undefined || isFree(provider))) this.#gates.delete(key);
      else if (provider !== undefined) gate.setProvider(this.#gated(provider));
    }
  }

  #open(provider: Provider, model: string): ProviderGate {
    const { clock, onChange } = this.#options;
    const onRefused = (): void => add(this.refusals, provider.name);
    return new ProviderGate({ clock, model, provider: this.#gated(provider), onChange, onRefused });
  }

  #gated({ api, apiKey, breakMs, name, streams }: Provider): GatedProvider {
    return { api, breakMs, name, streams, isShared: this.#options.areKeysOurs || apiKey !== undefined };
  }

  /** The second tries that a provider gets. */
  retriesOf(provider: Provider): RetryBudget {
    const key = keyOf(provider);
    const found = this.#budgets.get(key);
    if (found !== undefined) return found;
    const budget = new RetryBudget();
    this.#budgets.set(key, budget);
    return budget;
  }

  /** The provider could not take a request, failed, or is left out for now, and another target is asked. */
  fellBack({ name }: Provider): void {
    add(this.fallbacks, name);
  }

  /**
   * Forgets an idle gate, the longest unused of those that matter least: who is asked before who is not, by a breaker or a pause; and
   * of them, whose model has never answered before whose has. So names that clients invent push out each other. `newest` stays.
   */
  #forgetOne(newest: ProviderGate): void {
    let least: { readonly key: string; readonly worth: number } | undefined;
    for (const [key, gate] of this.#gates) {
      if (!gate.isIdle || gate === newest) continue;
      const isAsked = gate.closedMs === 0 && (gate.breaker ?? 'closed') === 'closed';
      const worth = (isAsked ? 0 : 2) + (gate.hasServed ? 1 : 0);
      if (worth < (least?.worth ?? Infinity)) least = { key, worth };
      if (worth === 0) break;
    }
    if (least !== undefined) this.#gates.delete(least.key);
  }
}

function keyOf({ api, name }: Pick<Provider, 'api' | 'name'>): string {
  return `${api} ${name}`;
}

/** Whether nothing stands before a provider. */
function isFree({ breakMs, streams }: Pick<Provider, 'breakMs' | 'streams'>): boolean {
  return breakMs === undefined && streams === undefined;
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
