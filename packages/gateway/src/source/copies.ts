import type { EventRun } from '@spillway/core/format/sse';
import { readBuffer } from './connect.ts';

/**
 * The first slab of a stream, and how far they grow. One event that waits keeps all of its slab.
 */
const minSlabBytes = 1024;
const maxSlabBytes = 4096;

/** A copy with memory of its own: of Node's pool, a small piece that lives for long would keep 64 KiB. */
export function ownCopy(bytes: Buffer, start: number, end: number): Buffer {
  const own = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(own, 0, start, end);
  return own;
}

/**
 * Copies of what one stream's reads brought, in slabs of its own: memory of its own for every small piece takes ten
 * times as long, and in a slab that streams share, one piece that waits would keep the pieces of all others.
 */
export class Copies {
  #slab: Buffer | undefined;
  #used = 0;
  #slabBytes = minSlabBytes;

  /** A copy of `bytes[start, end)`. */
  copy(bytes: Buffer, start: number, end: number): Buffer {
    const length = end - start;
    let slab = this.#slab;
    if (slab === undefined || this.#used + length > slab.length) {
      // What is large by itself leaves the slab to those that follow.
      if (length > this.#slabBytes / 2) {
        this.#grow();
        return ownCopy(bytes, start, end);
      }
      slab = Buffer.allocUnsafeSlow(this.#slabBytes);
      this.#slab = slab;
      this.#used = 0;
      this.#grow();
    }
    const at = this.#used;
    bytes.copy(slab, at, start, end);
    this.#used += length;
    return slab.subarray(at, this.#used);
  }

  /** The run itself, unless its bytes are those of a read, which the next one will overwrite. */
  keep(run: EventRun): EventRun {
    const { bytes, byteLength, events } = run;
    if (bytes.buffer !== readBuffer.buffer) return run;
    const start = bytes.byteOffset - readBuffer.byteOffset;
    return { bytes: this.copy(readBuffer, start, start + byteLength), byteLength, events };
  }

  #grow(): void {
    this.#slabBytes = Math.min(maxSlabBytes, this.#slabBytes * 2);
  }
}
