import type { ChannelReader } from './channel-reader.ts';
import type { ChunkLog, MergeAllEntries, MergedEntry } from './chunk-log.ts';
import { firstWhere } from './first-where.ts';
import { type Merge, mergePairs } from '../merge.ts';

/** What merging needs of a channel. */
export interface CompactorHost<T> {
  readonly maxMergedBytes: number;
  /** A merged chunk, measured. */
  entryOf(merged: T): MergedEntry<T>;
  /** Cursors stand elsewhere, and there is more room. */
  compacted(): void;
  /** `merge` or `weigh` threw: what was to be merged stays as it is. */
  mergeFailed(reason: unknown): void;
}

/** The part of what may be held from which on it is worth the while to merge what was not yet. */
export const worthMerging = 3 / 8;

/** Merges what waits in a channel, and what is kept for readers to come. Nothing is tried twice. */
export class Compactor<T> {
  readonly #log: ChunkLog<T>;
  readonly #readers: readonly ChannelReader<T>[];
  readonly #merge: Merge<T>;
  readonly #host: CompactorHost<T>;
  /** Whether `merge` is being called, or what measures its result. */
  isCalling = false;
  /** Pairs of waiting entries below this position were tried; the same of kept ones. */
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

  /** Two neighbours, if that can be. */
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

  /** Whether all that waits was merged, and every reader has some of it to come. */
  get isMerging(): boolean {
    const { head, tail } = this.#log;
    if (this.#waitingTo !== head || head === tail || this.#readers.length === 0) return false;
    for (const { merges, position } of this.#readers) if (!merges || position === head) return false;
    return true;
  }

  /** Merges a chunk with the newest entry, where {@link isMerging}. Returns whether that could be done. */
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

  /** Everything that waits now was tried. */
  wasTried(): void {
    this.#waitingTo = this.#log.head;
  }

  /** Merges what waits for nobody but readers that allow it: a channel that stays full costs one attempt a chunk. */
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
    // What lies behind a reader that does not merge is tried when that reader has passed it.
    this.#waitingTo = end - (head - this.#log.head);
  }

  /**
   * Whether more than the newest quarter before a position was not merged, by so much that it is worth the while: many at
   * once, and what has lived only for a moment costs the least to let go of.
   */
  hasFresh(to: number, maxHeldBytes: number): boolean {
    const log = this.#log;
    const freshBytes = log.bytesBefore(to) - log.bytesBefore(Math.max(log.tail, this.#keptTo));
    return freshBytes >= maxHeldBytes * worthMerging;
  }

  /** Merges what every reader has passed, except for the newest part. Returns by how much the rest moved up. */
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
