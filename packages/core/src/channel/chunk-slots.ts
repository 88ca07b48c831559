import type { ChunkAddresses, ChunkMemory } from './chunk-memory.ts';

/** Shared by all slots without memory of their own. */
const none: number[] = [];

/** The address of a chunk that is an object. */
const isObject = -1;

/** The slots of a ring of chunks: objects, or addresses in the channel's memory. */
export class ChunkSlots<T> {
  readonly #chunks: (T | undefined)[];
  readonly #addresses: number[];
  readonly #memory: ChunkMemory<T> | undefined;

  constructor(capacity: number, memory: ChunkMemory<T> | undefined) {
    this.#chunks = new Array<T | undefined>(capacity).fill(undefined);
    // A fraction, so that it is an array of doubles from the start.
    this.#addresses = memory === undefined ? none : new Array<number>(capacity).fill(0.5);
    this.#memory = memory;
  }

  get(slot: number): T {
    const memory = this.#memory;
    if (memory === undefined) return this.#chunks[slot] as T;
    const address = this.addressAt(slot);
    return address === isObject ? (this.#chunks[slot] as T) : memory.get(address);
  }

  set(slot: number, chunk: T, addresses: ChunkAddresses): void {
    const memory = this.#memory;
    if (memory === undefined) {
      this.#chunks[slot] = chunk;
      return;
    }
    const address = memory.put(chunk, addresses);
    this.#addresses[slot] = address;
    this.#chunks[slot] = address === isObject ? memory.own(chunk) : undefined;
  }

  /** Puts an object in that nobody lent. */
  setObject(slot: number, chunk: T): void {
    this.#chunks[slot] = chunk;
    if (this.#memory !== undefined) this.#addresses[slot] = isObject;
  }

  /** Takes a chunk out of the memory that stays where others behind it go: it alone would hold on to their room. */
  makeObject(slot: number): void {
    const memory = this.#memory;
    if (memory === undefined || this.addressAt(slot) === isObject) return;
    this.setObject(slot, memory.own(this.get(slot)));
  }

  /** Only with memory; -1 for an object. */
  addressAt(slot: number): number {
    return this.#addresses[slot] as number;
  }

  /** Takes over what is in a slot of these or of others. */
  move(slot: number, from: ChunkSlots<T>, fromSlot: number): void {
    this.#chunks[slot] = from.#chunks[fromSlot];
    if (this.#memory !== undefined) this.#addresses[slot] = from.addressAt(fromSlot);
  }

  /** Empties [start, end), so that what was there can be collected. */
  clear(start: number, end: number): void {
    if (end === start + 1) this.#chunks[start] = undefined;
    else this.#chunks.fill(undefined, start, end);
  }
}
