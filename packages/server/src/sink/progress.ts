/** What is expected of a reader. */
export interface ProgressRules {
  /** Time without any progress, while something is there for it, after which it is let go. */
  readonly stallTimeoutMs: number;
  /** Slowest average over `rateWindowMs` while something is always there; 0 checks nothing. */
  readonly minBytesPerSecond: number;
  /** The time over which the slowest rate is measured. Default: a minute. */
  readonly rateWindowMs?: number;
}

const defaultRateWindowMs = 60_000;

/**
 * Watches whether a reader makes progress. It only ever counts time in which something was there for
 * the reader to take: a model that is silent makes nobody stall.
 */
export class Progress {
  readonly #rules: ProgressRules;
  #bytes = 0;
  /** When the reader last made progress or had nothing to take; 0: it has nothing now. */
  #sinceMs = 0;
  #windowStartMs = 0;
  #windowBytes = 0;

  constructor(rules: ProgressRules) {
    this.#rules = rules;
  }

  /**
   * Takes what is known now: the bytes that reached the reader so far, and whether more is there for
   * it. Returns why the reader has to go, or `undefined`.
   */
  observe(nowMs: number, bytes: number, isOwed: boolean): 'no_progress' | 'too_slow' | undefined {
    if (!isOwed) {
      this.#bytes = bytes;
      this.#sinceMs = 0;
      return undefined;
    }
    if (this.#sinceMs === 0) {
      this.#windowStartMs = nowMs;
      this.#windowBytes = bytes;
    }
    if (this.#sinceMs === 0 || bytes > this.#bytes) {
      this.#bytes = bytes;
      this.#sinceMs = nowMs;
    }
    if (nowMs - this.#sinceMs >= this.#rules.stallTimeoutMs) return 'no_progress';
    const windowMs = nowMs - this.#windowStartMs;
    if (windowMs < (this.#rules.rateWindowMs ?? defaultRateWindowMs)) return undefined;
    const rate = ((bytes - this.#windowBytes) * 1000) / windowMs;
    this.#windowStartMs = nowMs;
    this.#windowBytes = bytes;
    return rate < this.#rules.minBytesPerSecond ? 'too_slow' : undefined;
  }
}

/** Looks at one that holds back its credit: for `pauseMs`, if that is more. */
export function patientProgress({
  minBytesPerSecond,
  pauseMs,
  stallTimeoutMs,
}: Pick<ProgressRules, 'minBytesPerSecond' | 'stallTimeoutMs'> & { readonly pauseMs: number }): Progress {
  return new Progress({
    minBytesPerSecond,
    stallTimeoutMs: Math.max(pauseMs, stallTimeoutMs),
    rateWindowMs: Math.max(pauseMs, defaultRateWindowMs),
  });
}
