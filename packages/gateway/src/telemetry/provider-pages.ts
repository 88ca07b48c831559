import type { BrokenModel } from '@spillway/server/console/snapshot';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { ModelAlias } from '../config/read-models.ts';
import type { ProviderEvents } from './provider-events.ts';
import type { ProviderGate } from '../provider/gate/provider-gate.ts';
import type { ProviderGates } from '../provider/gate/provider-gates.ts';
import type { ModelGateRow, ModelNameRow, ProviderRow, ProvidersSnapshot } from './providers-snapshot.ts';

/** Names of models come from clients. */
const maxModels = 200;
const maxModelChars = 128;

interface Watched {
  readonly clock: Pick<ServerClock, 'dateMs'>;
  readonly gates: () => Iterable<ProviderGate> & Pick<ProviderGates, 'fallbacks' | 'refusals'>;
  readonly aliases: () => readonly ModelAlias[];
  readonly events: Pick<ProviderEvents, 'latest'>;
}

/** What the console may watch of providers. */
export function providerPages({ aliases, clock, events, gates }: Watched): {
  readonly providers: () => ProvidersSnapshot;
} {
  return {
    providers: () => {
      const { fallbacks, refusals } = gates();
      const models = [...gates()].map(rowOf);
      return {
        atMs: clock.dateMs(),
        names: aliases().map(nameRow),
        models: models.toSorted((one, other) => urgencyOf(other) - urgencyOf(one)).slice(0, maxModels),
        allModels: models.length,
        providers: countRows(refusals, fallbacks),
        events: events.latest.toReversed(),
      };
    },
  };
}

/** The models whose breaker is not closed. */
export function brokenModels(gates: Iterable<ProviderGate>): readonly BrokenModel[] {
  return [...gates]
    .filter(({ breaker = 'closed' }) => breaker !== 'closed')
    .map(({ breaker, closedMs, isBroken, model, provider }) => ({
      provider: provider.name,
      model: model.slice(0, maxModelChars),
      // While it is tried, those beyond the trials wait, and it is asked all the same.
      closedMs: breaker === 'half-open' && isBroken ? 0 : Math.ceil(closedMs),
    }));
}

function nameRow({ name, targets }: ModelAlias): ModelNameRow {
  return {
    name,
    targets: targets.map(({ model, provider, weight }) => ({ provider: provider.name, model, weight })),
  };
}

function rowOf({
  admission,
  breaker,
  closedMs,
  firstToken,
  isBroken,
  lastFailure,
  model,
  provider,
}: ProviderGate): ModelGateRow {
  const { api, name, streams } = provider;
  return {
    provider: name,
    api,
    model: model.slice(0, maxModelChars),
    breaker: breaker ?? null,
    why: lastFailure,
    closedMs: Math.ceil(closedMs),
    isPaused: closedMs > 0 && !isBroken,
    streams:
      admission === undefined || streams === undefined
        ? null
        : {
            taken: admission.taken,
            limit: admission.limit,
            min: streams.min,
            max: streams.max,
            waiting: admission.waiting,
            maxWaiting: streams.maxWaiting,
          },
    firstToken: firstToken ?? null,
  };
}

/** Those that something is wrong with are shown first, where there are more than a page gets. */
function urgencyOf({ breaker, closedMs, streams }: ModelGateRow): number {
  if (closedMs > 0 || breaker === 'half-open') return 3;
  if (streams === null) return 0;
  return streams.waiting > 0 ? 2 : Math.min(1, streams.taken);
}

function countRows(
  refusals: ReadonlyMap<string, number>,
  fallbacks: ReadonlyMap<string, number>,
): ProviderRow[] {
  return [...new Set([...refusals.keys(), ...fallbacks.keys()])].map((name) => ({
    name,
    refused: refusals.get(name) ?? 0,
    fellBack: fallbacks.get(name) ?? 0,
  }));
}
