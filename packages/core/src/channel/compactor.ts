import type { ChannelReader } from './channel-reader.ts';
import type { ChunkLog, MergeAllEntries, MergedEntry } from './chunk-log.ts';
import { firstWhere } from './first-where.ts';
import { type Merge, mergePairs } from '../merge.ts';

/** The parts of a channel that merging needs. */
export interface CompactorHost<T> {
  readonly maxMergedBytes: number;
  /** A merged chunk with its weight and duration. */
  entryOf(merged: T): MergedEntry<T>;
  /** Called when cursors have new positions and there is more room. */
  compacted(): void;
  /** Called when `merge` or `weigh` threw. The entries to merge stay as they are. */
  mergeFailed(reason: unknown): void;
}

/** Merging starts when unmerged chunks fill at least 3/8 of the bound. */
export const worthMerging = 3 / 8;

/** Merges chunks that wait in a channel, and chunks kept for later readers. No pair is tried twice. */
export class Compactor<T> {
  readonly #log: ChunkLog<T>;
  readonly #readers: readonly ChannelReader<T>[];
  readonly #merge: Merge<T>;
  readonly #host: CompactorHost<T>;
  /** Whether `merge` is being called, or a function that measures its result. */
  isCalling = false;
  /** Pairs of waiting entries below `waitingTo` were tried, and pairs of kept entries below `keptTo`. */
  #waitingTo = 0;
  #keptTo = 0;

  constructor(
    log: ChunkLog<T>,
    readers: readonly ChannelReader<T>[],
    merge: Merge<T>,
    host: CompactorHost<T>,
  ) {
    this.#log = log;
    this.#readers = readers;
    this.#merge = merge;
    this.#host = host;
  }

  /** Merges two neighbours. Returns `undefined` if they cannot be merged. */
  merge(first: T, second: T): MergedEntry<T> | undefined {
    this.isCalling = true;
    try {
      const chunk = this.#merge(first, second);
      const entry = chunk === undefined ? undefined : this.#host.entryOf(chunk);
      return entry === undefined || entry.bytes > this.#host.maxMergedBytes ? undefined : entry;
    } catch (reason) {
      this.#host.mergeFailed(reason);
      return undefined;
    } finally {
      this.isCalling = false;
    }
  }

  /** Whether all waiting entries were tried, every reader allows merging, and every reader has entries to take. */
  get isMerging(): boolean {
    const { head, tail } = this.#log;
    if (this.#waitingTo !== head || head === tail || this.#readers.length === 0) return false;
    for (const { merges, position } of this.#readers) if (!merges || position === head) return false;
    return true;
  }

  /** Merges a chunk into the newest entry, where {@link isMerging}. Returns whether that was possible. */
  mergeIntoNewest(chunk: T): boolean {
    const log = this.#log;
    const newest = log.head - 1;
    const merged = this.merge(log.at(newest), chunk);
    if (merged === undefined) return false;
    const bytes = merged.bytes - log.bytesAt(newest);
    const ms = merged.ms - log.msAt(newest);
    for (const reader of this.#readers) if (!reader.hasRoom(bytes, ms)) return false;
    log.growNewest(merged);
    for (const reader of this.#readers) reader.look();
    return true;
  }

  /** Marks all waiting entries as tried. */
  wasTried(): void {
    this.#waitingTo = this.#log.head;
  }

  /**
   * Merges entries that wait only for readers that allow merging. A channel that stays full costs one attempt a chunk.
   */
  compactWaiting(): void {
    const { head } = this.#log;
    let slowest = head;
    let end = head;
    for (const reader of this.#readers) {
      slowest = Math.min(slowest, reader.position);
      if (!reader.merges) end = Math.min(end, reader.position);
    }
    const start = Math.max(slowest, Math.min(this.#waitingTo, head) - 1);
    if (start >= end - 1) return;
    this.#mergeBetween(start, end);
    // Entries after the cursor of a reader that does not merge are tried when that reader has passed them.
    this.#waitingTo = end - (head - this.#log.head);
  }

  /**
   * Whether unmerged entries before a position fill at least 3/8 of the bound. The newest quarter stays unmerged, so at
   * least 1/8 can be merged. Merging many entries at once is cheaper, and short-lived chunks are the cheapest to
   * collect.
   */
  hasFresh(to: number, maxHeldBytes: number): boolean {
    const log = this.#log;
    const freshBytes = log.bytesBefore(to) - log.bytesBefore(Math.max(log.tail, this.#keptTo));
    return freshBytes >= maxHeldBytes * worthMerging;
  }

  /**
   * Merges entries that every reader has passed, except for the newest quarter of the bound. Returns how far later
   * entries moved.
   */
  compactKept(slowest: number, maxHeldBytes: number): number {
    if (!this.hasFresh(slowest, maxHeldBytes)) return 0;
    const log = this.#log;
    const freshBytes = log.bytesBefore(slowest) - maxHeldBytes / 4;
    const end = firstWhere(log.tail, slowest, (position) => log.bytesBefore(position) >= freshBytes);
    const start = Math.max(log.tail, this.#keptTo - 1);
    if (start >= end - 1) return 0;
    const { head } = log;
    this.#mergeBetween(start, end);
    const moved = head - log.head;
    this.#keptTo = end - moved;
    this.#waitingTo = Math.max(0, this.#waitingTo - moved);
    return moved;
  }

  #mergeBetween(start: number, end: number): void {
    const readers = this.#readers.toSorted((a, b) => a.position - b.position);
    const borders = readers.map(({ position }) => position);
    const moved = this.#log.compact(start, end, (chunks) => this.#mergeAll(chunks), borders);
    for (const [index, reader] of readers.entries()) reader.compacted(moved[index] ?? reader.position);
    this.#host.compacted();
  }

  #mergeAll(chunks: readonly T[]): ReturnType<MergeAllEntries<T>> {
    const fits = (merged: T): boolean => this.#host.entryOf(merged).bytes <= this.#host.maxMergedBytes;
    this.isCalling = true;
    try {
      const merged = this.#merge.all?.(chunks, fits) ?? mergePairs(chunks, this.#merge, fits);
      return merged.map(({ chunk, count }) =>
        count === 1 ? { chunk, count, bytes: 0, ms: 0 } : { ...this.#host.entryOf(chunk), count },
      );
    } catch (reason) {
      this.#host.mergeFailed(reason);
      return chunks.map((chunk) => ({ chunk, count: 1, bytes: 0, ms: 0 }));
    } finally {
      this.isCalling = false;
    }
  }
}
