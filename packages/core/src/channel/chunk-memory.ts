/** Tells a {@link ChunkMemory} which addresses are no longer in use. */
export interface ChunkAddresses {
  /**
   * The lowest address that may still be read; `Infinity` if none. Found by a search, so do not ask with every chunk.
   */
  readonly oldestAddress: number;
}

/**
 * Memory of one channel for its chunks, instead of one object for each chunk. Chunks are copied into the memory and out
 * of it. Many small chunks that live for seconds are costly for the garbage collector, which copies each of them twice
 * and frees them late. With a thousand channels, such chunks cause most of the process's pauses.
 *
 * An implementation keeps a chunk only through `own`, so a chunk may be lent: its bytes may change once `offer` or
 * `write` has returned.
 */
export interface ChunkMemory<T> {
  /**
   * Copies a chunk into the memory. Returns its address, larger than all before, or -1 for a chunk that has to stay an
   * object.
   */
  put(chunk: T, addresses: ChunkAddresses): number;
  /** Returns a copy of the chunk at an address. */
  get(address: number): T;
  /** The chunk as an object that may be kept: itself, or a copy if it is lent. */
  own(chunk: T): T;
  /**
   * Called after many chunks were trimmed at once: a good moment to shrink. `isLast`: nothing is put any more, so no
   * spare room is needed.
   */
  shrink(addresses: ChunkAddresses, isLast?: boolean): void;
}
