/** How far a stream was received. The next frame has to continue there (rule 5.7). */
export class Continuation {
  /**
   * The offset where the next data has to start; `undefined` for a reader that starts at `now`, before its first frame.
   */
  next: number | undefined;
  /** The number of the gateway's own bytes since the last chunk. These bytes have no offsets of their own. */
  #ownBytes = 0;
  /** The number of those bytes that the gateway still repeats. */
  #skipBytes = 0;

  constructor(from: number | 'now' | 'start') {
    if (from !== 'now') this.next = from === 'start' ? 0 : from;
  }

  /** Moves on to the end of a frame. Returns whether the frame continues the stream. */
  advance(from: number, to: number): boolean {
    if (to <= from || (this.next !== undefined && from !== this.next)) return false;
    this.next = to;
    this.#ownBytes = 0;
    this.#skipBytes = 0;
    return true;
  }

  /** Counts the gateway's own bytes. Returns the bytes that are not a repetition. */
  advanceOwn(bytes: Uint8Array): Uint8Array {
    const skipped = Math.min(this.#skipBytes, bytes.length);
    this.#skipBytes -= skipped;
    const rest = bytes.subarray(skipped);
    this.#ownBytes += rest.length;
    return rest;
  }

  /** Called on a new connection, where the gateway repeats its own bytes since the last chunk. */
  resume(): void {
    this.#skipBytes = this.#ownBytes;
  }
}
