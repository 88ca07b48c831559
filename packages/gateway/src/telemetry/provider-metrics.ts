import type { Attributes, Meter as Instruments, ObservableResult } from '@opentelemetry/api';
import { Figures } from '@spillway/server/telemetry/figures';
import type { BreakerState } from '../provider/gate/breaker.ts';
import type { ProviderGate } from '../provider/gate/provider-gate.ts';
import type { ProviderGates } from '../provider/gate/provider-gates.ts';
import type { ProviderEvents } from './provider-events.ts';

export interface MeteredProviders {
  readonly gates: Iterable<ProviderGate> & Pick<ProviderGates, 'fallbacks' | 'refusals'>;
  readonly events: Pick<ProviderEvents, 'breaks'>;
  /** Whether the settings name a model of a provider. The names of others come from clients, and share one series. */
  readonly isNamed: (provider: string, model: string) => boolean;
}

const states: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 1, open: 2 };

/** The figures of what stands before providers. Without such settings there are none. */
export function defineProviderMetrics(
  instruments: Instruments,
  { events, gates, isNamed }: MeteredProviders,
): void {
  const figures = new Figures(instruments);
  const labelsOf = ({ model, provider: { api, name } }: ProviderGate): Attributes => ({
    provider: name,
    api,
    model: isNamed(name, model) ? model : '*',
  });
  /** Observes a figure of each gate; of those that share a series, `join` makes one. */
  const each =
    (read: (gate: ProviderGate) => number | undefined, join: (one: number, other: number) => number) =>
    (result: ObservableResult): void => {
      const found = new Map<string, { readonly labels: Attributes; readonly value: number }>();
      for (const gate of gates) {
        const value = read(gate);
        if (value === undefined) continue;
        const labels = labelsOf(gate);
        const key = JSON.stringify(labels);
        const before = found.get(key)?.value;
        found.set(key, { labels, value: before === undefined ? value : join(before, value) });
      }
      for (const { labels, value } of found.values()) result.observe(value, labels);
    };
  const sum = (one: number, other: number): number => one + other;
  figures.gauge(
    'spillway.provider.breaker',
    '',
    'Whether a model of a provider is asked (0), tried again (1), or not asked because it fails too often (2)',
    each(({ breaker }) => breaker && states[breaker], Math.max),
  );
  figures.gauge(
    'spillway.provider.streams',
    '{stream}',
    'Streams that run at a model of a provider with maxStreams',
    each(({ admission }) => admission?.taken, sum),
  );
  figures.gauge(
    'spillway.provider.limit',
    '{stream}',
    'Streams that may run there at once, as far as the limit has found it',
    each(({ admission }) => admission?.limit, sum),
  );
  figures.gauge(
    'spillway.provider.waiting',
    '{request}',
    'Requests that wait for a place there',
    each(({ admission }) => admission?.waiting, sum),
  );
  const counted =
    (counts: ReadonlyMap<string, number>) =>
    (result: ObservableResult): void => {
      for (const [provider, count] of counts) result.observe(count, { provider });
    };
  figures.counter(
    'spillway.provider.refused',
    '{request}',
    'Requests that a provider was not asked for: too many waited, the wait was too long, or it was given up for a while',
    counted(gates.refusals),
  );
  figures.counter(
    'spillway.provider.breaks',
    '{break}',
    'How often a model of a provider was given up for a while',
    counted(events.breaks),
  );
  figures.counter(
    'spillway.fallbacks',
    '{request}',
    'Requests for which another target was asked, because a provider could not take them, failed, or was left out for now',
    counted(gates.fallbacks),
  );
}
