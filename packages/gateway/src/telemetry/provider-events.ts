import type { Logger } from 'pino';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { BreakerState } from '../provider/gate/breaker.ts';

/** A breaker has changed. */
export interface ProviderEvent {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly provider: string;
  /** As the provider names it. */
  readonly model: string;
  readonly state: BreakerState;
  /** The last failure before that; empty: there was none. */
  readonly why: string;
}

/** The events that are kept for people, the latest. */
const maxEvents = 100;

/** Tells when a model of a provider is no longer asked, and when it is again: in the log, and to whoever looks. */
export class ProviderEvents {
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  readonly #clock: Pick<ServerClock, 'dateMs'>;
  readonly latest: ProviderEvent[] = [];
  /** By the name of a provider: how often a breaker has opened. */
  readonly breaks = new Map<string, number>();

  constructor(log: Pick<Logger, 'info' | 'warn'>, clock: Pick<ServerClock, 'dateMs'>) {
    this.#log = log;
    this.#clock = clock;
  }

  changed(provider: string, model: string, state: BreakerState, why: string): void {
    this.latest.push({ atMs: this.#clock.dateMs(), provider, model, state, why });
    if (this.latest.length > maxEvents) this.latest.shift();
    if (state === 'open') {
      this.breaks.set(provider, (this.breaks.get(provider) ?? 0) + 1);
      this.#log.warn({ provider, model, why }, 'a model fails too often and is not asked');
    } else if (state === 'half-open') {
      this.#log.info({ provider, model }, 'a model is tried again');
    } else {
      this.#log.info({ provider, model }, 'a model is well and is asked as before');
    }
  }
}
