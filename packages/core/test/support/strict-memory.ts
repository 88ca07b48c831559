import type { ChunkAddresses, ChunkMemory } from '../../src/index.ts';

/** Forgets at once all that it may, and lets nobody ask for it: a channel that lets go too early is seen. */
export class StrictMemory<T> implements ChunkMemory<T> {
  readonly owned: T[] = [];
  readonly #chunks = new Map<number, T>();
  readonly #isObject: (chunk: T) => boolean;
  readonly #copy: (chunk: T) => T;
  #next = 0;

  constructor(isObject: (chunk: T) => boolean = () => false, copy: (chunk: T) => T = (chunk) => chunk) {
    this.#isObject = isObject;
    this.#copy = copy;
  }

  get chunks(): readonly T[] {
    return [...this.#chunks.values()];
  }

  put(chunk: T, addresses: ChunkAddresses): number {
    this.shrink(addresses);
    if (this.#isObject(chunk)) return -1;
    this.#next += 3;
    this.#chunks.set(this.#next, this.#copy(chunk));
    return this.#next;
  }

  get(address: number): T {
    const chunk = this.#chunks.get(address);
    if (chunk === undefined) throw new Error(`address ${address} was released`);
    return chunk;
  }

  own(chunk: T): T {
    this.owned.push(chunk);
    return this.#copy(chunk);
  }

  shrink({ oldestAddress }: ChunkAddresses): void {
    for (const address of this.#chunks.keys()) if (address < oldestAddress) this.#chunks.delete(address);
  }
}
