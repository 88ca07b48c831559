import type { Clock } from '../clock.ts';
import type { ChunkAddresses, ChunkMemory } from './chunk-memory.ts';
import { firstWhere } from './first-where.ts';

/** Two or more neighbours, merged into one. */
export interface MergedEntry<T> {
  readonly chunk: T;
  readonly bytes: number;
  readonly ms: number;
}

/** Merges neighbours in a list where possible. A chunk with `count` 1 was not merged and is returned as it is. */
export type MergeAllEntries<T> = (
  chunks: readonly T[],
) => readonly (MergedEntry<T> & { readonly count: number })[];

/**
 * One entry, taken out of the chunk log by a reader that keeps the entry for itself. It stands for the chunks in [from,
 * to).
 */
export interface Entry<T> {
  readonly from: number;
  readonly to: number;
  readonly chunk: T;
  readonly bytes: number;
  readonly ms: number;
  readonly time: number;
}

/**
 * A column that is not needed, shared by all chunk logs. For so few numbers a typed array takes three times the memory.
 */
const none: number[] = [];

/** The address that marks a chunk kept as an object, outside the channel's memory. */
const isObject = -1;

/**
 * The one copy of a channel's chunks: a ring that grows, addressed by position. Every entry has the offset of its first
 * chunk (without merges an entry is one chunk), and the total bytes and duration written before it. So the size of all
 * entries between two cursors is one subtraction.
 *
 *     position      tail                      head
 *                    ▼                         ▼
 *     offset   · ·  [7]  [8]  [9–12] [13] [14] ·  ·      slot = position & mask
 *     before        20   25    30    50   55   60        bytes
 *                         ▲                ▲
 *                      reader A         reader B         60 − 25 bytes wait for A, 60 − 55 for B
 *
 * Every entry in [tail, head) is kept, and tail ≤ head always. Slots below the tail are empty, so that the garbage
 * collector can free their chunks at once. Offsets never repeat; positions move back when entries are merged. The
 * columns of one ring move together, so they stay in one file.
 */
export class ChunkLog<T> implements ChunkAddresses {
  /** A slot is empty where its chunk is in the channel's memory. */
  #chunks: (T | undefined)[] = [];
  // Columns that are not needed are empty. A measure that is missing counts as 0. Without merges an entry's offset is
  // its position.
  #bytes = none;
  #ms = none;
  #offsets = none;
  #times = none;
  #addresses = none;
  #mask = -1;
  #head = 0;
  #tail = 0;
  // The values that the columns would have at the head.
  #totalBytes = 0;
  #totalMs = 0;
  #nextOffset = 0;
  /** Whether any entry ever stood for more than one chunk. */
  hasMerged = false;
  /** Whether the chunk log keeps nothing but chunks: no measures, offsets, times or addresses. */
  readonly isBare: boolean;
  readonly #hasBytes: boolean;
  readonly #hasMs: boolean;
  readonly #canMerge: boolean;
  readonly #clock: Pick<Clock, 'nowMs'> | undefined;
  readonly #memory: ChunkMemory<T> | undefined;

  constructor(columns: {
    readonly firstOffset: number;
    readonly hasBytes: boolean;
    readonly hasMs: boolean;
    readonly canMerge: boolean;
    readonly clock: Pick<Clock, 'nowMs'> | undefined;
    readonly memory: ChunkMemory<T> | undefined;
  }) {
    this.#head = columns.firstOffset;
    this.#tail = columns.firstOffset;
    this.#nextOffset = columns.firstOffset;
    this.#memory = columns.memory;
    this.#hasBytes = columns.hasBytes;
    this.#hasMs = columns.hasMs;
    this.#canMerge = columns.canMerge;
    this.#clock = columns.clock;
    this.isBare =
      !columns.hasBytes &&
      !columns.hasMs &&
      !columns.canMerge &&
      columns.clock === undefined &&
      columns.memory === undefined;
  }

  /** The position after the newest entry. */
  get head(): number {
    return this.#head;
  }

  /** The position of the oldest kept entry; equals `head` when none is kept. */
  get tail(): number {
    return this.#tail;
  }

  /** The offset that the next chunk will have. */
  get nextOffset(): number {
    return this.#canMerge ? this.#nextOffset : this.#head;
  }

  /** The bytes of all chunks ever written, less the bytes that merging saved. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** The duration in milliseconds of all chunks ever written, less the duration that merging saved. */
  get totalMs(): number {
    return this.#totalMs;
  }

  /** The bytes of all kept entries. */
  get heldBytes(): number {
    return this.bytesFrom(this.#tail);
  }

  /** The position up to which the ring has slots, so that it need not grow. */
  get slotsTo(): number {
    return this.#tail + this.#mask + 1;
  }

  append(chunk: T, bytes: number, ms: number): void {
    if (this.#head >= this.slotsTo) this.#grow();
    if (this.isBare) this.appendBare(chunk);
    else this.appendInPlace(chunk, bytes, ms);
  }

  /** Appends to a chunk log that {@link isBare}. Requires head < {@link slotsTo}. */
  appendBare(chunk: T): void {
    this.#chunks[this.#head & this.#mask] = chunk;
    this.#head += 1;
  }

  /** Appends with measures. Requires head < {@link slotsTo}. */
  appendInPlace(chunk: T, bytes: number, ms: number): void {
    const slot = this.#head & this.#mask;
    if (this.#memory === undefined) this.#chunks[slot] = chunk;
    else this.#put(this.#memory, slot, chunk);
    this.#head += 1;
    if (this.#hasBytes) {
      this.#bytes[slot] = this.#totalBytes;
      this.#totalBytes += bytes;
    }
    if (this.#hasMs) {
      this.#ms[slot] = this.#totalMs;
      this.#totalMs += ms;
    }
    if (this.#canMerge) this.#offsets[slot] = this.#nextOffset;
    if (this.#clock !== undefined) this.#times[slot] = this.#clock.nowMs();
    this.#nextOffset += 1;
  }

  /** Replaces the newest entry's chunk by one that stands for one chunk more. */
  growNewest({ bytes, chunk, ms }: MergedEntry<T>): void {
    const newest = this.#head - 1;
    this.#totalBytes += bytes - this.bytesAt(newest);
    this.#totalMs += ms - this.msAt(newest);
    this.#putObject(newest & this.#mask, chunk);
    this.#nextOffset += 1;
    this.hasMerged = true;
  }

  /** Removes the oldest entry and returns its chunk. */
  shift(): T {
    const chunk = this.at(this.#tail);
    this.#chunks[this.#tail & this.#mask] = undefined;
    this.#tail += 1;
    return chunk;
  }

  /** The chunk at a position in [tail, head). */
  at(position: number): T {
    const slot = position & this.#mask;
    return this.#memory === undefined ? (this.#chunks[slot] as T) : this.#get(this.#memory, slot);
  }

  /** The offset of the first chunk of the entry at a position in [tail, head]. */
  offsetAt(position: number): number {
    if (!this.#canMerge) return position;
    return position === this.#head ? this.#nextOffset : (this.#offsets[position & this.#mask] ?? 0);
  }

  /** The bytes of all chunks written before a position in [tail, head], less the bytes that merging saved. */
  bytesBefore(position: number): number {
    if (!this.#hasBytes) return 0;
    return position === this.#head ? this.#totalBytes : (this.#bytes[position & this.#mask] ?? 0);
  }

  /**
   * The duration in milliseconds of all chunks written before a position in [tail, head], less the duration that
   * merging saved.
   */
  msBefore(position: number): number {
    if (!this.#hasMs) return 0;
    return position === this.#head ? this.#totalMs : (this.#ms[position & this.#mask] ?? 0);
  }

  /** The bytes of the entries from a position in [tail, head] to the head. */
  bytesFrom(position: number): number {
    return this.#totalBytes - this.bytesBefore(position);
  }

  /** The duration in milliseconds of the entries from a position in [tail, head] to the head. */
  msFrom(position: number): number {
    return this.#totalMs - this.msBefore(position);
  }

  /** The bytes of the entry at a position in [tail, head). */
  bytesAt(position: number): number {
    return this.bytesBefore(position + 1) - this.bytesBefore(position);
  }

  /** The duration in milliseconds of the entry at a position in [tail, head). */
  msAt(position: number): number {
    return this.msBefore(position + 1) - this.msBefore(position);
  }

  /** When the entry at a position in [tail, head) was written. */
  timeAt(position: number): number {
    return this.#times[position & this.#mask] ?? 0;
  }

  /**
   * The lowest address in use. Addresses ascend with positions; entries that are objects have none and are passed over.
   */
  get oldestAddress(): number {
    for (let position = this.#tail; position < this.#head; position += 1) {
      const address = this.#addressAt(position & this.#mask);
      if (address !== isObject) return address;
    }
    return Infinity;
  }

  entryAt(position: number): Entry<T> {
    return {
      from: this.offsetAt(position),
      to: this.offsetAt(position + 1),
      chunk: this.at(position),
      bytes: this.bytesAt(position),
      ms: this.msAt(position),
      time: this.timeAt(position),
    };
  }

  /** The position of the entry that starts at an offset; `undefined` if no entry in [tail, head] does. */
  positionOf(offset: number): number | undefined {
    const low = firstWhere(this.#tail, this.#head, (position) => this.offsetAt(position) >= offset);
    return this.offsetAt(low) === offset ? low : undefined;
  }

  /**
   * Merges neighbours in [start, end) where possible, and moves the later entries down. Never merges across a border. A
   * border is the position of a cursor, whose reader has taken the entry before it. The borders must ascend. Returns
   * the new position of each border.
   */
  compact(start: number, end: number, mergeAll: MergeAllEntries<T>, borders: readonly number[]): number[] {
    const moved = borders.filter((border) => border < start);
    let written = start;
    let bytes = this.bytesBefore(start);
    let ms = this.msBefore(start);
    for (let from = start; from < end;) {
      while (borders[moved.length] === from) moved.push(written);
      const to = Math.min(end, borders[moved.length] ?? end);
      for (const { count, ...merged } of mergeAll(this.#between(from, to))) {
        const entryBytes = count === 1 ? this.bytesAt(from) : merged.bytes;
        const entryMs = count === 1 ? this.msAt(from) : merged.ms;
        this.#move(from, written, bytes, ms);
        if (count > 1) this.#putObject(written & this.#mask, merged.chunk);
        else this.#makeObject(written & this.#mask, merged.chunk);
        written += 1;
        bytes += entryBytes;
        ms += entryMs;
        from += count;
      }
    }
    const shift = end - written;
    for (const border of borders.slice(moved.length)) moved.push(border - shift);
    if (shift > 0) this.#moveUp(end, shift, this.bytesBefore(end) - bytes, this.msBefore(end) - ms);
    return moved;
  }

  /**
   * Moves the entries in [start, head) down by `shift` positions, and subtracts `bytes` and `ms` from the totals before
   * them.
   */
  #moveUp(start: number, shift: number, bytes: number, ms: number): void {
    for (let position = start; position < this.#head; position += 1) {
      this.#move(
        position,
        position - shift,
        this.bytesBefore(position) - bytes,
        this.msBefore(position) - ms,
      );
    }
    this.hasMerged = true;
    this.#clear(this.#head - shift, this.#head);
    this.#head -= shift;
    this.#totalBytes -= bytes;
    this.#totalMs -= ms;
    this.#memory?.shrink(this);
  }

  /** Moves an entry to a lower position, and sets the totals before it. */
  #move(from: number, to: number, bytes: number, ms: number): void {
    const slot = to & this.#mask;
    this.#offsets[slot] = this.offsetAt(from);
    if (this.#hasBytes) this.#bytes[slot] = bytes;
    if (this.#hasMs) this.#ms[slot] = ms;
    if (this.#clock !== undefined) this.#times[slot] = this.timeAt(from);
    this.#chunks[slot] = this.#chunks[from & this.#mask];
    if (this.#memory !== undefined) this.#addresses[slot] = this.#addressAt(from & this.#mask);
  }

  #get(memory: ChunkMemory<T>, slot: number): T {
    const address = this.#addressAt(slot);
    return address === isObject ? (this.#chunks[slot] as T) : memory.get(address);
  }

  #put(memory: ChunkMemory<T>, slot: number, chunk: T): void {
    const address = memory.put(chunk, this);
    this.#addresses[slot] = address;
    this.#chunks[slot] = address === isObject ? memory.own(chunk) : undefined;
  }

  /** Puts in a chunk that is an object and not lent. */
  #putObject(slot: number, chunk: T): void {
    this.#chunks[slot] = chunk;
    if (this.#memory !== undefined) this.#addresses[slot] = isObject;
  }

  /**
   * Copies a chunk out of the memory while its neighbours are merged. Left there, it alone would keep its neighbours'
   * memory in use.
   */
  #makeObject(slot: number, chunk: T): void {
    const memory = this.#memory;
    if (memory === undefined || this.#addressAt(slot) === isObject) return;
    this.#putObject(slot, memory.own(chunk));
  }

  /** Requires that the channel has memory. */
  #addressAt(slot: number): number {
    return this.#addresses[slot] as number;
  }

  /** The chunks in [from, head). */
  rest(from: number): T[] {
    return this.#between(from, this.#head);
  }

  #between(from: number, to: number): T[] {
    if (this.#memory !== undefined) {
      return Array.from({ length: to - from }, (_, index) => this.at(from + index));
    }
    const start = from & this.#mask;
    const length = to - from;
    const first = this.#chunks.slice(start, start + length) as T[];
    return first.length === length
      ? first
      : [...first, ...(this.#chunks.slice(0, length - first.length) as T[])];
  }

  /** Removes all entries below a position. */
  trim(position: number): void {
    if (position <= this.#tail) return;
    if (position === this.#tail + 1) this.#chunks[this.#tail & this.#mask] = undefined;
    else this.#clear(this.#tail, position);
    this.#tail = position;
  }

  #clear(from: number, to: number): void {
    const start = from & this.#mask;
    const end = start + to - from;
    this.#chunks.fill(undefined, start, end);
    if (end > this.#chunks.length) this.#chunks.fill(undefined, 0, end - this.#chunks.length);
  }

  #grow(): void {
    const capacity = Math.max(8, (this.#mask + 1) * 2);
    const mask = capacity - 1;
    const chunks = new Array<T | undefined>(capacity).fill(undefined);
    for (let position = this.#tail; position < this.#head; position += 1) {
      chunks[position & mask] = this.#chunks[position & this.#mask];
    }
    const grown = (column: number[], isUsed: boolean): number[] => {
      if (!isUsed) return none;
      // A fraction, so that the engine makes an array of doubles from the start.
      const slots = new Array<number>(capacity).fill(0.5);
      for (let position = this.#tail; position < this.#head; position += 1) {
        slots[position & mask] = column[position & this.#mask] ?? 0;
      }
      return slots;
    };
    this.#chunks = chunks;
    this.#bytes = grown(this.#bytes, this.#hasBytes);
    this.#ms = grown(this.#ms, this.#hasMs);
    this.#offsets = grown(this.#offsets, this.#canMerge);
    this.#times = grown(this.#times, this.#clock !== undefined);
    this.#addresses = grown(this.#addresses, this.#memory !== undefined);
    this.#mask = mask;
  }
}
