import type { Backlog } from './backlog.ts';
import type { Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';

/**
 * The items that a reader takes before the entry at its cursor: chunks that the reader keeps for itself, and the gaps
 * between them, in order. Kept chunks do not hold back the chunk log. Their bounds are the reader's.
 */
export class KeptChunks<T> implements Backlog<T> {
  readonly #queue: (Entry<T> | Gap | undefined)[] = [];
  /** The index of the next item in the queue. Items before it were taken, and are removed many at a time. */
  #next = 0;
  /** The number of queued entries, without gaps. */
  items = 0;
  /** The number of chunks in those entries: more than `items` where chunks were merged. */
  chunks = 0;
  bytes = 0;
  ms = 0;
  /** No kept chunk is stored elsewhere. */
  readonly storedItems: number = 0;
  readonly storedChunks: number = 0;
  readonly storedBytes: number = 0;

  /** The next item, or `undefined` when nothing is kept. */
  get first(): Entry<T> | Gap | undefined {
    return this.#queue[this.#next];
  }

  /** The next chunk, after any gaps before it. */
  get firstEntry(): Entry<T> | undefined {
    let index = this.#next;
    while (this.#queue[index] instanceof Gap) index += 1;
    return this.#queue[index] as Entry<T> | undefined;
  }

  get isEmpty(): boolean {
    return this.#next === this.#queue.length;
  }

  /** The offset of the next item. */
  get offset(): number | undefined {
    return this.first?.from;
  }

  /** When the oldest chunk was written. */
  get oldestTime(): number | undefined {
    return this.firstEntry?.time;
  }

  push(item: Entry<T> | Gap): void {
    this.#queue.push(item);
    this.#count(item, 1);
  }

  shift(): Entry<T> | Gap | undefined {
    const item = this.first;
    if (item === undefined) return undefined;
    this.#queue[this.#next] = undefined;
    this.#next += 1;
    // In batches, because removing the first item of an array moves all others.
    if (this.#next * 2 > this.#queue.length) {
      this.#queue.splice(0, this.#next);
      this.#next = 0;
    }
    this.#count(item, -1);
    return item;
  }

  discard(): (Entry<T> | Gap)[] {
    const items = this.#queue.slice(this.#next) as (Entry<T> | Gap)[];
    this.clear();
    return items;
  }

  clear(): void {
    this.#queue.length = 0;
    this.#next = 0;
    this.items = 0;
    this.chunks = 0;
    this.bytes = 0;
    this.ms = 0;
  }

  #count(item: Entry<T> | Gap, sign: -1 | 1): void {
    if (item instanceof Gap) return;
    this.items += sign;
    this.chunks += sign * (item.to - item.from);
    this.bytes += sign * item.bytes;
    this.ms += sign * item.ms;
  }
}

/** Shared by all readers that never keep anything. */
export const nothingKept = new KeptChunks<never>();
