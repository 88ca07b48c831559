/**
 * The one copy of a channel's chunks: a ring that grows, addressed by offset. An offset is the
 * number of chunks that were appended before, so it never repeats, however often the ring wraps.
 *
 *     offset      tail                     head
 *                  ▼                        ▼
 *     slots   · · [c7] [c8] [c9] [c10] [c11] · ·      slot = offset & mask
 *                        ▲            ▲
 *                     reader A     reader B
 *
 * Everything in [tail, head) is kept. Offsets below the tail are gone, and their slots empty, so
 * that a chunk can be collected as soon as its last reader has passed it.
 */
export class ChunkLog<T> {
  #slots: (T | undefined)[] = [];
  #bytes: number[] = [];
  #mask = -1;
  #head = 0;
  #tail = 0;
  #appendedBytes = 0;

  /** The offset that the next chunk will have. */
  get head(): number {
    return this.#head;
  }

  /** The offset of the oldest chunk that is kept; equals `head` when nothing is. */
  get tail(): number {
    return this.#tail;
  }

  /** The bytes of all chunks that were ever appended. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  append(chunk: T, bytes: number): void {
    if (this.#head - this.#tail > this.#mask) this.#grow();
    const slot = this.#head & this.#mask;
    this.#slots[slot] = chunk;
    this.#bytes[slot] = bytes;
    this.#head += 1;
    this.#appendedBytes += bytes;
  }

  /** The chunk at an offset in [tail, head). */
  at(offset: number): T {
    return this.#slots[offset & this.#mask] as T;
  }

  /** The bytes of the chunk at an offset in [tail, head). */
  bytesAt(offset: number): number {
    return this.#bytes[offset & this.#mask] ?? 0;
  }

  /** Lets go of everything below `offset`. */
  trim(offset: number): void {
    while (this.#tail < offset) {
      this.#slots[this.#tail & this.#mask] = undefined;
      this.#tail += 1;
    }
  }

  #grow(): void {
    const capacity = Math.max(8, (this.#mask + 1) * 2);
    const slots = new Array<T | undefined>(capacity).fill(undefined);
    const bytes = new Array<number>(capacity).fill(0);
    for (let offset = this.#tail; offset < this.#head; offset += 1) {
      slots[offset & (capacity - 1)] = this.#slots[offset & this.#mask];
      bytes[offset & (capacity - 1)] = this.bytesAt(offset);
    }
    this.#slots = slots;
    this.#bytes = bytes;
    this.#mask = capacity - 1;
  }
}
