/** Where {@link ChunkMemory} learns what it may let go of. */
export interface ChunkAddresses {
  /** The lowest address that may still be asked for; `Infinity` if none. A search: not to be asked for with every chunk. */
  readonly oldestAddress: number;
}

/**
 * Memory of one channel for its chunks, instead of an object for each. Chunks are copied into it and out of it. A channel that
 * keeps a hundred small chunks for seconds makes work for the garbage collector, which copies each of them
 * twice and finds out late that nobody needs them any more: with a thousand channels that is what the process stops for.
 *
 * Nothing of a chunk may be kept but by `own`, so a chunk may be lent: its bytes may change when `offer` or `write` has
 * returned.
 */
export interface ChunkMemory<T> {
  /** Copies a chunk. Returns its address, which is larger than those before; -1 for a chunk that has to stay an object. */
  put(chunk: T, addresses: ChunkAddresses): number;
  /** A chunk like the one that was put there. */
  get(address: number): T;
  /** The chunk as an object that may be kept: itself, or a copy if it is lent. */
  own(chunk: T): T;
  /** Much was let go of at once: a good moment to become smaller. `isLast`: nothing is put any more, so that no room is needed for it. */
  shrink(addresses: ChunkAddresses, isLast?: boolean): void;
}
