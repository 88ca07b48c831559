import { isDeepStrictEqual } from 'node:util';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Provider } from '../../config/provider.ts';
import { RetryBudget } from '../retry-budget.ts';
import type { BreakerState } from './breaker.ts';
import { ProviderGate } from './provider-gate.ts';

/** The gates that are kept: names of models come from clients. Beyond that the longest unused one that is idle is forgotten. */
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
  find(provider: Provider, model: string | undefined): ProviderGate | undefined {
    const { api, apiKey, breakMs, name, streams } = provider;
    if (breakMs === undefined && streams === undefined) return undefined;
    const key = `${api} ${name} ${model ?? ''}`;
    const found = this.#gates.get(key);
    if (found !== undefined) this.#gates.delete(key);
    // After a reload it may have other bounds. Whoever is in the old one leaves it there.
    const isSame = found !== undefined && isDeepStrictEqual(found.provider, { api, breakMs, name, streams });
    const { areKeysOurs, clock, onChange } = this.#options;
    const gate = isSame
      ? found
      : new ProviderGate({
          clock,
          model: model ?? '',
          provider: { api, breakMs, name, streams },
          isShared: areKeysOurs || apiKey !== undefined,
          onChange,
          onRefused: () => add(this.refusals, name),
        });
    this.#gates.set(key, gate);
    if (this.#gates.size > maxGates) this.#forgetOne();
    return gate;
  }

  /** The second tries that a provider gets. */
  retriesOf({ api, name }: Provider): RetryBudget {
    const key = `${api} ${name}`;
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

  #forgetOne(): void {
    for (const [key, gate] of this.#gates) {
      if (!gate.isIdle) continue;
      this.#gates.delete(key);
      return;
    }
  }
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
