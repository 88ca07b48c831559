/** The least progress that a reader has to make. */
export interface ProgressRules {
  /** A reader that makes no progress for this long, while chunks wait for it, has to go. */
  readonly stallTimeoutMs: number;
  /** The slowest average over `rateWindowMs`, while chunks always wait; 0: no minimum. */
  readonly minBytesPerSecond: number;
  /** The time over which the average is measured. Default: a minute. */
  readonly rateWindowMs?: number;
}

const defaultRateWindowMs = 60_000;

/** Watches whether a reader makes progress. Only time with waiting bytes counts: a silent model makes no reader stall. */
export class Progress {
  readonly #rules: ProgressRules;
  #bytes = 0;
  /** When the reader last made progress or had nothing to take; 0: nothing waits for it now. */
  #sinceMs = 0;
  #windowStartMs = 0;
  #windowBytes = 0;

  constructor(rules: ProgressRules) {
    this.#rules = rules;
  }

  /**
   * Takes the bytes that reached the reader so far, and whether more wait for it. Returns why the reader has to go;
   * `undefined`: it need not.
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

/**
 * Progress of a reader that holds back its credit: `pauseMs` replaces the timeout and the rate window, if it is
 * longer.
 */
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
