import type { Backlog } from './backlog.ts';
import type { Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';

/**
 * What a reader takes before it comes to its cursor in the log: chunks that it keeps for itself, and the
 * gaps between them, in order. With it the reader no longer holds back the log. Bounded like the reader.
 */
export class KeptChunks<T> implements Backlog<T> {
  readonly #queue: (Entry<T> | Gap | undefined)[] = [];
  /** Where the next item is in the queue. What lies before it was taken, and is let go of many at a time. */
  #next = 0;
  /** Entries that are no gaps. */
  items = 0;
  /** The chunks that these stand for. */
  chunks = 0;
  bytes = 0;
  ms = 0;
  /** Nothing of it is stored elsewhere. */
  readonly storedItems: number = 0;
  readonly storedChunks: number = 0;
  readonly storedBytes: number = 0;

  /** What comes next, or `undefined` when nothing is kept. */
  get first(): Entry<T> | Gap | undefined {
    return this.#queue[this.#next];
  }

  /** The next chunk, behind the gaps that come before it. */
  get firstEntry(): Entry<T> | undefined {
    let index = this.#next;
    while (this.#queue[index] instanceof Gap) index += 1;
    return this.#queue[index] as Entry<T> | undefined;
  }

  get isEmpty(): boolean {
    return this.#next === this.#queue.length;
  }

  /** The offset of what comes next. */
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
    // Taking the oldest out of an array moves all others.
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

/** Shared by all who never keep anything. */
export const nothingKept = new KeptChunks<never>();
