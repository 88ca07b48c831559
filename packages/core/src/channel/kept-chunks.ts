import type { Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';

/**
 * What a reader takes before it comes to its cursor in the log: chunks that it keeps for itself, and the
 * gaps between them, in order. With it the reader no longer holds back the log. Bounded like the reader.
 */
export class KeptChunks<T> {
  readonly #queue: (Entry<T> | Gap)[] = [];
  /** Entries that are no gaps. */
  items = 0;
  /** The chunks that these stand for. */
  chunks = 0;
  bytes = 0;
  ms = 0;
  /** Nothing of it is stored elsewhere. */
  readonly storedItems: number = 0;
  readonly storedChunks: number = 0;

  /** What comes next, or `undefined` when nothing is kept. */
  get first(): Entry<T> | Gap | undefined {
    return this.#queue[0];
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** The offset of what comes next. */
  get offset(): number | undefined {
    return this.first?.from;
  }

  /** When the oldest chunk was written. */
  get oldestTime(): number | undefined {
    for (const item of this.#queue) if (!(item instanceof Gap)) return item.time;
    return undefined;
  }

  push(item: Entry<T> | Gap): void {
    this.#queue.push(item);
    this.#count(item, 1);
  }

  shift(): Entry<T> | Gap | undefined {
    const item = this.#queue.shift();
    if (item !== undefined) this.#count(item, -1);
    return item;
  }

  clear(): void {
    while (this.#queue.length > 0) this.shift();
  }

  #count(item: Entry<T> | Gap, sign: -1 | 1): void {
    if (item instanceof Gap) return;
    this.items += sign;
    this.chunks += sign * (item.to - item.from);
    this.bytes += sign * item.bytes;
    this.ms += sign * item.ms;
  }
}
