/** Merges two neighbours, or refuses with `undefined`. */
export type MergeEntries<T> = (
  first: T,
  firstBytes: number,
  second: T,
  secondBytes: number,
) => { readonly chunk: T; readonly bytes: number } | undefined;

/**
 * The one copy of a channel's chunks: a ring that grows, addressed by position. Every entry knows the
 * offset of its first chunk; without merges an entry is one chunk.
 *
 *     position     tail                     head
 *                   ▼                        ▼
 *     entries  · · [7] [8] [9–12] [13] [14]  ·  ·      slot = position & mask
 *                        ▲              ▲
 *                     reader A       reader B
 *
 * Everything in [tail, head) is kept. Below the tail the slots are empty, so that a chunk can be
 * collected as soon as nobody needs it. Offsets never repeat; positions move back when entries at the
 * head are merged.
 */
export class ChunkLog<T> {
  #chunks: (T | undefined)[] = [];
  // Columns that nobody needs are empty: without weights every entry has 0 bytes, without merges its
  // offset is its position, without a clock its time is 0.
  #bytes: number[] = [];
  #offsets: number[] = [];
  #times: number[] = [];
  #mask = -1;
  #head = 0;
  #tail = 0;
  #nextOffset = 0;
  #appendedBytes = 0;
  #trimmedBytes = 0;
  /** Whether an entry ever stood for more than one chunk. */
  hasMerged = false;
  readonly #isWeighed: boolean;
  readonly #canMerge: boolean;
  readonly #clock: (() => number) | undefined;

  constructor(columns: {
    readonly isWeighed: boolean;
    readonly canMerge: boolean;
    readonly clock: (() => number) | undefined;
  }) {
    this.#isWeighed = columns.isWeighed;
    this.#canMerge = columns.canMerge;
    this.#clock = columns.clock;
  }

  /** The position behind the newest entry. */
  get head(): number {
    return this.#head;
  }

  /** The position of the oldest entry that is kept; equals `head` when none is. */
  get tail(): number {
    return this.#tail;
  }

  /** The offset that the next chunk will have: how many were written. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** The bytes of all entries that were ever here, less what merging saved. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  /** The bytes of all entries that were let go. */
  get trimmedBytes(): number {
    return this.#trimmedBytes;
  }

  append(chunk: T, bytes: number): void {
    if (this.#head - this.#tail > this.#mask) this.#grow();
    const slot = this.#head & this.#mask;
    this.#chunks[slot] = chunk;
    if (this.#isWeighed) this.#bytes[slot] = bytes;
    if (this.#canMerge) this.#offsets[slot] = this.#nextOffset;
    if (this.#clock !== undefined) this.#times[slot] = this.#clock();
    this.#head += 1;
    this.#nextOffset += 1;
    this.#appendedBytes += bytes;
  }

  /** The chunk at a position in [tail, head). */
  at(position: number): T {
    return this.#chunks[position & this.#mask] as T;
  }

  bytesAt(position: number): number {
    return this.#isWeighed ? (this.#bytes[position & this.#mask] ?? 0) : 0;
  }

  /** The offset of the first chunk at a position in [tail, head]. */
  offsetAt(position: number): number {
    if (!this.#canMerge) return position;
    return position === this.#head ? this.#nextOffset : (this.#offsets[position & this.#mask] ?? 0);
  }

  timeAt(position: number): number {
    return this.#clock === undefined ? 0 : (this.#times[position & this.#mask] ?? 0);
  }

  /** The position whose entry starts at that offset; `undefined` if none in [tail, head] does. */
  positionOf(offset: number): number | undefined {
    let low = this.#tail;
    let high = this.#head;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsetAt(middle) < offset) low = middle + 1;
      else high = middle;
    }
    return this.offsetAt(low) === offset ? low : undefined;
  }

  /**
   * Merges neighbours in [start, end) where `merge` agrees, and moves what follows up. Never across a
   * border, which is where a cursor stands: its reader has the entry before already. Calls `moved` for
   * every border, in ascending order, with its new position and the bytes that were saved before it.
   */
  compact(
    start: number,
    end: number,
    merge: MergeEntries<T>,
    borders: readonly number[],
    moved: (position: number, savedBytes: number) => void,
  ): void {
    let written = start;
    let saved = 0;
    let border = 0;
    for (let position = start; position < this.#head; position += 1) {
      const isBorder = borders[border] === position;
      while (borders[border] === position) {
        // A merge needs an entry written before it, so a cursor's entry is always written as a new one.
        moved(written, saved);
        border += 1;
      }
      const last = written - 1;
      if (position > start && position < end && !isBorder) {
        const merged = merge(this.at(last), this.bytesAt(last), this.at(position), this.bytesAt(position));
        if (merged !== undefined) {
          const before = this.bytesAt(last) + this.bytesAt(position);
          this.#chunks[last & this.#mask] = merged.chunk;
          this.#bytes[last & this.#mask] = merged.bytes;
          saved += before - merged.bytes;
          this.hasMerged = true;
          continue;
        }
      }
      if (written !== position) this.#move(position, written);
      written += 1;
    }
    for (; border < borders.length; border += 1) moved(written, saved);
    for (let position = written; position < this.#head; position += 1) {
      this.#chunks[position & this.#mask] = undefined;
    }
    this.#head = written;
    this.#appendedBytes -= saved;
  }

  /** The chunks in [from, head). */
  rest(from: number): T[] {
    const start = from & this.#mask;
    const length = this.#head - from;
    const first = this.#chunks.slice(start, start + length) as T[];
    return first.length === length
      ? first
      : [...first, ...(this.#chunks.slice(0, length - first.length) as T[])];
  }

  /** Lets go of everything below a position. */
  trim(position: number): void {
    if (!this.#isWeighed && position - this.#tail > 8) this.#trimRun(position);
    while (this.#tail < position) {
      const slot = this.#tail & this.#mask;
      this.#chunks[slot] = undefined;
      if (this.#isWeighed) this.#trimmedBytes += this.#bytes[slot] ?? 0;
      this.#tail += 1;
    }
  }

  /** The same in one step, where nothing has to be added up. */
  #trimRun(position: number): void {
    const start = this.#tail & this.#mask;
    const end = start + position - this.#tail;
    this.#chunks.fill(undefined, start, end);
    if (end > this.#chunks.length) this.#chunks.fill(undefined, 0, end - this.#chunks.length);
    this.#tail = position;
  }

  #move(from: number, to: number): void {
    this.#chunks[to & this.#mask] = this.#chunks[from & this.#mask];
    if (this.#isWeighed) this.#bytes[to & this.#mask] = this.bytesAt(from);
    if (this.#canMerge) this.#offsets[to & this.#mask] = this.offsetAt(from);
    if (this.#clock !== undefined) this.#times[to & this.#mask] = this.timeAt(from);
  }

  #grow(): void {
    const capacity = Math.max(8, (this.#mask + 1) * 2);
    const mask = capacity - 1;
    const chunks = new Array<T | undefined>(capacity).fill(undefined);
    const column = (isUsed: boolean): number[] => (isUsed ? new Array<number>(capacity).fill(0) : []);
    const bytes = column(this.#isWeighed);
    const offsets = column(this.#canMerge);
    const times = column(this.#clock !== undefined);
    for (let position = this.#tail; position < this.#head; position += 1) {
      chunks[position & mask] = this.#chunks[position & this.#mask];
      if (this.#isWeighed) bytes[position & mask] = this.bytesAt(position);
      if (this.#canMerge) offsets[position & mask] = this.offsetAt(position);
      if (this.#clock !== undefined) times[position & mask] = this.timeAt(position);
    }
    this.#chunks = chunks;
    this.#bytes = bytes;
    this.#offsets = offsets;
    this.#times = times;
    this.#mask = mask;
  }
}
