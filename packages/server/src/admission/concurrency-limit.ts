/** How many may run at once, and what tells it. See `GradientLimit` for one that finds itself. */
export interface ConcurrencyLimit {
  /** The places there are now. A whole number, at least 1. */
  readonly current: number;
  /**
   * A first token has come.
   *
   * @param ttftMs From the moment the provider was asked: ≥ 0.
   * @param inFlight The places that were taken when it came.
   */
  sample(ttftMs: number, inFlight: number): void;
  /**
   * A request was refused for its number (429, 503), or not answered in time.
   *
   * @param tookMs From the moment the place was given: ≥ 0.
   */
  failed(tookMs: number): void;
}

/** A limit that stays what it is. */
export class FixedLimit implements ConcurrencyLimit {
  readonly current: number;

  /** `current` ≥ 1. */
  constructor(current: number) {
    this.current = current;
  }

  sample(): void {}

  failed(): void {}
}
