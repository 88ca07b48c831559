/**
 * Stands in a reader's stream where chunks are missing, so that no loss is silent. Gaps that touch are one gap: with
 * the reason of the last `skip` among them, if there is one.
 */
export class Gap {
  /** The offset of the first missing chunk. */
  readonly from: number;
  /** The offset behind the last missing chunk: `to - from` chunks are missing. */
  readonly to: number;
  /** The weight of what is missing, in bytes. */
  readonly bytes: number;
  /** The overflow policy that dropped them (`drop-newest`, `drop-oldest`, `latest`), or what {@link Reader.skip} was told. */
  readonly reason: string;

  constructor(from: number, to: number, bytes: number, reason: string) {
    this.from = from;
    this.to = to;
    this.bytes = bytes;
    this.reason = reason;
  }
}
