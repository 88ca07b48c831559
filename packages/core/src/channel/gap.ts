/**
 * Stands in a reader's stream where chunks are missing, so that no loss is silent. Gaps that touch become one gap, with
 * the reason of the last `skip` among them, if there is one.
 */
export class Gap {
  /** The offset of the first missing chunk. */
  readonly from: number;
  /** The offset after the last missing chunk: `to - from` chunks are missing. */
  readonly to: number;
  /** The weight of the missing chunks, in bytes. */
  readonly bytes: number;
  /**
   * The overflow policy that dropped them (`drop-newest`, `drop-oldest`, `latest`), or the reason given to {@link
   * Reader.skip}.
   */
  readonly reason: string;

  constructor(from: number, to: number, bytes: number, reason: string) {
    this.from = from;
    this.to = to;
    this.bytes = bytes;
    this.reason = reason;
  }
}
