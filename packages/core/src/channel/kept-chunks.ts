import { Gap } from './gap.ts';

/** A chunk that one reader keeps for itself. It stands for the offsets in [from, to). */
export interface KeptChunk<T> {
  readonly from: number;
  readonly to: number;
  readonly chunk: T;
  readonly bytes: number;
  readonly time: number;
}

/**
 * What a `drop-newest` reader has still to take, once it lost what came behind: chunks and the gaps
 * between them, in order. With it the reader no longer holds back the log. Bounded like the reader.
 */
export class KeptChunks<T> {
  readonly #queue: (KeptChunk<T> | Gap)[] = [];
  /** Entries that are no gaps. */
  items = 0;
  /** The chunks that these stand for. */
  chunks = 0;
  bytes = 0;

  /** What comes next, or `undefined` when nothing is kept. */
  get first(): KeptChunk<T> | Gap | undefined {
    return this.#queue[0];
  }

  /** When the oldest chunk was written. */
  get oldestTime(): number | undefined {
    for (const item of this.#queue) if (!(item instanceof Gap)) return item.time;
    return undefined;
  }

  push(item: KeptChunk<T> | Gap): void {
    this.#queue.push(item);
    this.#count(item, 1);
  }

  shift(): KeptChunk<T> | Gap | undefined {
    const item = this.#queue.shift();
    if (item !== undefined) this.#count(item, -1);
    return item;
  }

  clear(): void {
    while (this.#queue.length > 0) this.shift();
  }

  #count(item: KeptChunk<T> | Gap, sign: -1 | 1): void {
    if (item instanceof Gap) return;
    this.items += sign;
    this.chunks += sign * (item.to - item.from);
    this.bytes += sign * item.bytes;
  }
}
