/** An amount of credit, or of what it is spent on. A unit that is left out is 0. */
export interface CreditAmount {
  /** Chunks: a whole number, 0 or more. */
  readonly items?: number;
  /** As the channel's `weigh` counts them: 0 or more. */
  readonly bytes?: number;
  /** Milliseconds of audio: 0 or more. */
  readonly ms?: number;
}

/** The units of a window that count, each with the most that may be outstanding. At least one. */
export interface CreditOptions {
  /** A whole number, 1 or more. Default: chunks are not counted. */
  readonly maxItems?: number;
  /** Minimum 1. Default: bytes are not counted. */
  readonly maxBytes?: number;
  /** Minimum 1. Default: milliseconds are not counted. */
  readonly maxMs?: number;
  /** What may be spent before the first grant, no more than the maximum. Default: nothing. */
  readonly initial?: CreditAmount;
}
