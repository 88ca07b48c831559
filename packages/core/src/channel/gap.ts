import type { LossyOverflow } from './overflow.ts';

/**
 * Stands in a reader's stream where chunks are missing, so that no loss is silent. Gaps that touch
 * are one gap.
 */
export class Gap {
  /** The offset of the first missing chunk. */
  readonly from: number;
  /** The offset behind the last missing chunk: `to - from` chunks are missing. */
  readonly to: number;
  /** The weight of what is missing, in bytes. */
  readonly bytes: number;
  /** The overflow policy that dropped them. */
  readonly reason: LossyOverflow;

  constructor(from: number, to: number, bytes: number, reason: LossyOverflow) {
    this.from = from;
    this.to = to;
    this.bytes = bytes;
    this.reason = reason;
  }
}
