import { frameOverheadBytes } from '@spillway/core/session';

/** The unacknowledged bytes of all streams of a connection. */
export interface Total {
  /** Bytes as the windows count them: each frame's chunk and its overhead. */
  unackedBytes: number;
  /** The consumed part of `unackedBytes`, which the next acks grant again. consumedBytes ≤ unackedBytes always. */
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
  /** The frames in the order of their offsets; consumed frames come first. */
  #frames: { readonly to: number; readonly bytes: number }[] = [];
  #consumedFrames = 0;

  constructor(total: Total, windowBytes: number) {
    this.#total = total;
    this.#windowBytes = windowBytes;
  }

  /** The number of frames that are not consumed. */
  get items(): number {
    return this.#frames.length - this.#consumedFrames;
  }

  /** Whether a frame may come now. A frame larger than a whole window may come when all of the window is free. */
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

  /** Marks the frames that end at or before an offset as consumed. */
  consume(offset: number): void {
    for (let frame; (frame = this.#frames[this.#consumedFrames]) && frame.to <= offset;) {
      this.#consumedFrames++;
      this.consumedBytes += frame.bytes;
      this.#total.consumedBytes += frame.bytes;
    }
  }

  /** Removes the consumed frames. Returns the offset to acknowledge, or `undefined` if no frame was consumed. */
  takeAck(): number | undefined {
    const last = this.#frames[this.#consumedFrames - 1];
    if (last === undefined) return undefined;
    this.#frames.splice(0, this.#consumedFrames);
    this.#consumedFrames = 0;
    this.#subtract(this.consumedBytes);
    this.ackedTo = last.to;
    return last.to;
  }

  /** Forgets all frames: the stream is over, or goes on as a new reader that has nothing to acknowledge. */
  clear(): void {
    this.#frames = [];
    this.#consumedFrames = 0;
    this.#subtract(this.unackedBytes);
    this.ackedTo = undefined;
  }

  /**
   * The window that a chunk takes. A chunk larger than the stream's window takes all of that window, and no more of the
   * connection's.
   */
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
