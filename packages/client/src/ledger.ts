import { frameOverheadBytes } from '@spillway/core/session';

/** What all streams of a connection have received and not acknowledged. */
export interface Total {
  /** As the windows count: each frame's chunk and its overhead. */
  unackedBytes: number;
  /** Of these, what is consumed: the next acks will grant it. */
  consumedBytes: number;
}

/** One stream's received frames until they are acknowledged (rules 5.4 and 5.5). */
export class Ledger {
  unackedBytes = 0;
  consumedBytes = 0;
  /** The offset of the last ack; `undefined` before the first. */
  ackedTo: number | undefined;
  readonly #total: Total;
  readonly #windowBytes: number;
  /** In the order of their offsets; those that are consumed come first. */
  #frames: { readonly to: number; readonly bytes: number }[] = [];
  #consumedFrames = 0;

  constructor(total: Total, windowBytes: number) {
    this.#total = total;
    this.#windowBytes = windowBytes;
  }

  /** How many are not consumed. */
  get items(): number {
    return this.#frames.length - this.#consumedFrames;
  }

  /** Whether a frame may come now: one that is larger than a whole window may, when all of it is free. */
  allows(chunkBytes: number, connectionWindowBytes: number): boolean {
    const bytes = this.#costOf(chunkBytes);
    const { unackedBytes } = this.#total;
    return (
      (this.unackedBytes === 0 || this.unackedBytes + bytes <= this.#windowBytes) &&
      (unackedBytes === 0 || unackedBytes + bytes <= connectionWindowBytes)
    );
  }

  receive(to: number, chunkBytes: number): void {
    const bytes = this.#costOf(chunkBytes);
    this.#frames.push({ to, bytes });
    this.unackedBytes += bytes;
    this.#total.unackedBytes += bytes;
  }

  /** Everything that ends at the offset or before it is consumed. */
  consume(offset: number): void {
    for (let frame; (frame = this.#frames[this.#consumedFrames]) && frame.to <= offset;) {
      this.#consumedFrames++;
      this.consumedBytes += frame.bytes;
      this.#total.consumedBytes += frame.bytes;
    }
  }

  /** Takes out what is consumed. Returns the offset to acknowledge, if there is something. */
  takeAck(): number | undefined {
    const last = this.#frames[this.#consumedFrames - 1];
    if (last === undefined) return undefined;
    this.#frames.splice(0, this.#consumedFrames);
    this.#consumedFrames = 0;
    this.#subtract(this.consumedBytes);
    this.ackedTo = last.to;
    return last.to;
  }

  /** Forgets everything: the stream is over, or goes on as another reader, who owes nothing. */
  clear(): void {
    this.#frames = [];
    this.#consumedFrames = 0;
    this.#subtract(this.unackedBytes);
    this.ackedTo = undefined;
  }

  /** One that is larger than the stream's window costs all of it, and no more of the connection's. */
  #costOf(chunkBytes: number): number {
    return Math.min(chunkBytes + frameOverheadBytes, this.#windowBytes);
  }

  #subtract(bytes: number): void {
    this.#total.unackedBytes -= bytes;
    this.#total.consumedBytes -= this.consumedBytes;
    this.unackedBytes -= bytes;
    this.consumedBytes = 0;
  }
}
