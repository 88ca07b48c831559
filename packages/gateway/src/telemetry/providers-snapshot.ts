import type { ProviderEvent } from './provider-events.ts';
import type { BreakerState } from '../provider/gate/breaker.ts';

/** What the console gets of what stands before providers, four times a second. */
export interface ProvidersSnapshot {
  readonly atMs: number;
  /** The models by names of the operator's own. */
  readonly names: readonly ModelNameRow[];
  /** Models of providers with something before them: those that were asked for, and the targets of `names`. At most 200. */
  readonly models: readonly ModelGateRow[];
  /** The number of all that there are. */
  readonly allModels: number;
  /** Providers whose models were refused or left for another target, since the gateway started. */
  readonly providers: readonly ProviderRow[];
  /** What breakers did, the latest first. At most 100. */
  readonly events: readonly ProviderEvent[];
}

/** A model by a name of the operator's own. */
export interface ModelNameRow {
  readonly name: string;
  readonly targets: readonly {
    readonly provider: string;
    readonly model: string;
    /** How often it is the first one, beside the others. 0: only where all those before it failed. */
    readonly weight: number;
  }[];
}

/** One model of one provider, and what stands before it. */
export interface ModelGateRow {
  readonly provider: string;
  readonly api: string;
  /** As the provider names it, at most 128 characters; empty: the requests named none. */
  readonly model: string;
  /** `null`: it is asked, however often it fails. */
  readonly breaker: BreakerState | null;
  /** The latest failure; empty: there was none. */
  readonly why: string;
  /** In how many milliseconds it may be asked; 0: now. */
  readonly closedMs: number;
  /** Whether that is so by its own words, its `Retry-After` or rate limits, and not by its failures. */
  readonly isPaused: boolean;
  /** `null`: as many as come run at once. */
  readonly streams: {
    readonly taken: number;
    /** Those that may run now: from `min` to `max`. */
    readonly limit: number;
    readonly min: number;
    readonly max: number;
    readonly waiting: number;
    readonly maxWaiting: number;
  } | null;
  /** The time to the first token, by which the limit finds itself; `null`: it does not, or there was none yet. */
  readonly firstToken: {
    /** The median of the latest window. */
    readonly latestMs: number;
    /** The median while the provider is not slow. */
    readonly bestMs: number;
  } | null;
}

/** Since the gateway started. */
export interface ProviderRow {
  readonly name: string;
  /** Requests that it was not asked for. */
  readonly refused: number;
  /** Requests that went on to another target, because this one could not take them, failed, or was left out for now. */
  readonly fellBack: number;
}
