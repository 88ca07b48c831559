/** How far a stream was received: what the next frame has to continue (rule 5.7). */
export class Continuation {
  /** Where the next data has to start; `undefined` for a reader that starts at a `now` that it does not know. */
  next: number | undefined;
  /** Bytes of the gateway's own words since the last chunk, which have no offsets of their own. */
  #ownBytes = 0;
  /** How many of them come again. */
  #skipBytes = 0;

  constructor(from: number | 'now' | 'start') {
    if (from !== 'now') this.next = from === 'start' ? 0 : from;
  }

  /** Goes on behind a frame. Returns whether that frame continues what was there. */
  advance(from: number, to: number): boolean {
    if (to <= from || (this.next !== undefined && from !== this.next)) return false;
    this.next = to;
    this.#ownBytes = 0;
    this.#skipBytes = 0;
    return true;
  }

  /** Goes on with what the gateway says by itself. Returns what of it is new. */
  advanceOwn(bytes: Uint8Array): Uint8Array {
    const skipped = Math.min(this.#skipBytes, bytes.length);
    this.#skipBytes -= skipped;
    const rest = bytes.subarray(skipped);
    this.#ownBytes += rest.length;
    return rest;
  }

  /** Another connection goes on from here, where the gateway repeats what it said by itself. */
  resume(): void {
    this.#skipBytes = this.#ownBytes;
  }
}
