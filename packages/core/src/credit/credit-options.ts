/** An amount of credit, granted or spent. A unit that is left out is 0. */
export interface CreditAmount {
  /** Chunks: a whole number, 0 or more. */
  readonly items?: number;
  /** Bytes, as the channel's `weigh` counts them: 0 or more. */
  readonly bytes?: number;
  /** Milliseconds of audio: 0 or more. */
  readonly ms?: number;
}

/** The units that a window counts, each with the most that may be outstanding. At least one unit. */
export interface CreditOptions {
  /** The most chunks. A whole number, 1 or more. Default: chunks are not counted. */
  readonly maxItems?: number;
  /** The most bytes. Minimum 1. Default: bytes are not counted. */
  readonly maxBytes?: number;
  /** The most milliseconds. Minimum 1. Default: milliseconds are not counted. */
  readonly maxMs?: number;
  /** The credit before the first grant, no more than the maximum. Default: no credit. */
  readonly initial?: CreditAmount;
}
