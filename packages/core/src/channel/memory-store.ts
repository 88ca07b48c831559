import { SpillwayError } from '../errors.ts';
import { checkedLimits } from './channel-options.ts';
import type { TakeLimits } from './bounds.ts';
import type { Store, StoredChunk } from './store.ts';

/** Bounds of a store in memory. */
export interface MemoryStoreOptions {
  /**
   * The bytes that the store keeps, as the channel's `weigh` counts them. Without `weigh` the store has no bound.
   * Minimum 1. An append that would exceed the bound rejects with `store_full`.
   */
  readonly maxBytes: number;
}

/** A store in this process's memory: for tests, and for readers that may lag further than their window. */
export function createMemoryStore<T>({ maxBytes }: MemoryStoreOptions): Store<T> {
  if (!(maxBytes >= 1)) {
    throw new SpillwayError('invalid_option', `maxBytes: expected 1 or more, got ${maxBytes}.`);
  }
  return new MemoryStore(maxBytes);
}

class MemoryStore<T> implements Store<T> {
  readonly #maxBytes: number;
  #chunks: StoredChunk<T>[] = [];
  #bytes = 0;
  #trimmedTo = 0;
  #end = 0;
  #isSealed = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  async append(chunks: readonly StoredChunk<T>[]): Promise<void> {
    if (this.#isSealed) throw new SpillwayError('store_sealed', 'The store is sealed: nothing can be added.');
    let end = this.#end;
    let bytes = this.#bytes;
    for (const chunk of chunks) {
      if (chunk.from < end) {
        throw new SpillwayError('out_of_order', `Expected offset ${end} or later, got ${chunk.from}.`);
      }
      end = chunk.to;
      bytes += chunk.bytes;
    }
    if (bytes > this.#maxBytes) {
      throw new SpillwayError(
        'store_full',
        `The store holds ${this.#bytes} bytes and ${bytes - this.#bytes} came, its bound is ${this.#maxBytes}.`,
      );
    }
    // One by one, because a call takes only a limited number of arguments.
    for (const chunk of chunks) this.#chunks.push(chunk);
    this.#end = end;
    this.#bytes = bytes;
  }

  async read(from: number, limits: TakeLimits = {}): Promise<StoredChunk<T>[]> {
    const { maxBytes, maxItems } = checkedLimits(limits);
    if (from < this.#trimmedTo) {
      throw new SpillwayError('history_gone', `Offset ${from} is gone: trimmed up to ${this.#trimmedTo}.`);
    }
    const found: StoredChunk<T>[] = [];
    let bytes = 0;
    for (const chunk of this.#chunks) {
      if (chunk.from < from) continue;
      bytes += chunk.bytes;
      if (found.length > 0 && (bytes > maxBytes || found.length >= maxItems)) break;
      found.push(chunk);
    }
    return found;
  }

  async trim(before: number): Promise<void> {
    this.#trimmedTo = Math.max(this.#trimmedTo, Math.min(before, this.#end));
    const kept = this.#chunks.findIndex(({ to }) => to > before);
    for (const { bytes } of this.#chunks.splice(0, kept === -1 ? Infinity : kept)) this.#bytes -= bytes;
  }

  async seal(): Promise<void> {
    this.#isSealed = true;
  }
}
