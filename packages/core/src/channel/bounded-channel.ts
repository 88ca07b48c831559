import { asError } from '../as-error.ts';
import { type Clock, systemTime } from '../clock.ts';
import { SpillwayError } from '../errors.ts';
import { type ChannelOptions, checkedReaderOptions, measured } from './channel-options.ts';
import type { Channel, ChannelEnd, OfferResult } from './channel.ts';
import { ChannelReader } from './channel-reader.ts';
import { ChunkLog, type MergedEntry } from './chunk-log.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import { Compactor, type CompactorHost } from './compactor.ts';
import type { Gap } from './gap.ts';
import { invalid } from '../invalid.ts';
import { nothingKept } from './kept-chunks.ts';
import type { Merge } from '../merge.ts';
import { closedError, noChunk, type PendingWrite, stillWaits } from './pending-write.ts';
import type { Bounds } from './bounds.ts';
import type { LosslessReaderOptions, Reader, ReaderOptions } from './reader.ts';
import type { ReaderHost } from './reader-host.ts';
import { ReaderRoom } from './reader-room.ts';
import { Retention } from './retention.ts';

/**
 * The one implementation of a {@link Channel}. The file is long because `offer` is on the path of every token. How far
 * an offer may go without checks depends on every reader, and everything that a reader does changes that.
 */
export class BoundedChannel<T> implements Channel<T>, CompactorHost<T>, ReaderHost<T, ChannelReader<T>> {
  readonly merge: Merge<T> | undefined;
  /** The channel's own `maxMergedBytes`, or less where such a chunk would not fit a reader. */
  maxMergedBytes: number;
  readonly #maxMergedBytes: number;
  /** Created when there is something to merge, because most channels never merge. */
  #madeCompactor: Compactor<T> | undefined;
  readonly #bounds: Bounds;
  readonly #weigh: ((chunk: T) => number) | undefined;
  readonly #durationMs: ((chunk: T) => number) | undefined;
  readonly #memory: ChunkMemory<T> | undefined;
  readonly #log: ChunkLog<T>;
  readonly #readers: ChannelReader<T>[] = [];
  readonly #retention: Retention<T>;
  /** The room for chunks while the channel has no reader. */
  readonly #ownRoom: ReaderRoom<T>;
  /** Without a clock the age of chunks is not measured. */
  readonly #clock: Pick<Clock, 'nowMs'> | undefined;
  readonly keepsNothing: boolean;
  /** The number of readers that wait in `ready` or `whenReady`. */
  #waiting = 0;
  /**
   * Fast path: while head < openTo, only bytes and duration need checking. Every reader has room for one more chunk,
   * and the channel is open. A lower bound, recomputed when reached.
   */
  #openTo = 0;
  #bareTo = 0;
  // Up to these bounds every reader had room when last checked. Readers only move forward, so the real room is never
  // less. Every change that takes room away calls `forgetRoom`.
  #roomToPosition = 0;
  #roomToBytes = 0;
  #roomToMs = 0;
  #end: ChannelEnd | undefined;
  pending: PendingWrite<T> | undefined;

  constructor(options: ChannelOptions<T>, bounds: Bounds) {
    const {
      clock = systemTime,
      durationMs,
      firstOffset = 0,
      maxMergedBytes = 16_384,
      measureAge = false,
    } = options;
    const { memory, merge, replay, weigh } = options;
    this.#bounds = bounds;
    this.keepsNothing = replay === undefined;
    this.#weigh = weigh;
    this.#durationMs = durationMs;
    this.#memory = memory;
    this.#clock = measureAge || replay?.maxAgeMs !== undefined ? clock : undefined;
    this.#log = new ChunkLog<T>({
      firstOffset,
      hasBytes: weigh !== undefined,
      hasMs: durationMs !== undefined,
      canMerge: merge !== undefined,
      clock: this.#clock,
      memory,
    });
    this.#ownRoom = new ReaderRoom(this.#log, bounds, nothingKept);
    this.#retention = new Retention(this.#log, this.#readers, replay, clock, () => this.#compactor);
    this.merge = merge;
    this.maxMergedBytes = maxMergedBytes;
    this.#maxMergedBytes = maxMergedBytes;
  }

  get #compactor(): Compactor<T> | undefined {
    if (this.merge === undefined) return undefined;
    this.#madeCompactor ??= new Compactor(this.#log, this.#readers, this.merge, this);
    return this.#madeCompactor;
  }

  entryOf(chunk: T): MergedEntry<T> {
    return { chunk, bytes: this.#weighed(chunk), ms: this.#timed(chunk) };
  }

  compacted(): void {
    this.#retention.compacted();
    this.forgetRoom();
  }

  /** In a microtask, after the merge under way: failing the channel calls readers' callbacks. */
  mergeFailed(reason: unknown): void {
    queueMicrotask(() => this.fail(asError(reason)));
  }

  mergeEntries(first: T, second: T): MergedEntry<T> | undefined {
    return this.#compactor?.merge(first, second);
  }

  get end(): ChannelEnd | undefined {
    return this.#end;
  }

  get nextOffset(): number {
    return this.#log.nextOffset;
  }

  get oldestOffset(): number {
    this.#retention.trimOld();
    return this.#log.offsetAt(this.#log.tail);
  }

  get heldBytes(): number {
    this.#retention.trimOld();
    return this.#log.heldBytes;
  }

  get isMerging(): boolean {
    return this.#madeCompactor?.isMerging === true;
  }

  get isInMerge(): boolean {
    return this.#madeCompactor?.isCalling === true;
  }

  newest(items: number): T[] {
    if (items !== Infinity && !(Number.isInteger(items) && items >= 0)) {
      throw invalid(`newest: expected a whole number, 0 or more, got ${items}.`);
    }
    this.#retention.trimOld();
    return this.#log.rest(Math.max(this.#log.tail, this.#log.head - items));
  }

  /** Short, so that the engine can inline it. */
  offer(chunk: T): OfferResult {
    const log = this.#log;
    if (log.head >= this.#bareTo || chunk === undefined) return this.#offerSlowly(chunk);
    log.appendBare(chunk);
    return 'accepted';
  }

  #offerSlowly(chunk: T): OfferResult {
    if (chunk === undefined) throw noChunk();
    const log = this.#log;
    if (log.head < this.#openTo && !log.isBare) {
      const bytes = this.#weighed(chunk);
      const ms = this.#timed(chunk);
      if (!this.#hasRoomFor(bytes, ms)) return this.#offerMeasured(chunk, bytes, ms);
      log.appendInPlace(chunk, bytes, ms);
      return 'accepted';
    }
    if (this.#end !== undefined) return 'closed';
    if (this.pending !== undefined) return 'full';
    return this.#offerMeasured(chunk, this.#weighed(chunk), this.#timed(chunk));
  }

  /** Whether the chunk fits within the room that was noted. */
  #hasRoomFor(bytes: number, ms: number): boolean {
    const { head, isBare, totalBytes, totalMs } = this.#log;
    return (
      head < this.#roomToPosition &&
      (isBare || (totalBytes + bytes <= this.#roomToBytes && totalMs + ms <= this.#roomToMs))
    );
  }

  write(chunk: T, options?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
    try {
      return this.#write(chunk, options?.signal);
    } catch (reason) {
      return Promise.reject(reason);
    }
  }

  #write(chunk: T, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#end !== undefined) return Promise.reject(closedError(this.#end));
    if (this.pending !== undefined) return Promise.reject(stillWaits());
    if (chunk === undefined) return Promise.reject(noChunk());
    const bytes = this.#weighed(chunk);
    const ms = this.#timed(chunk);
    const result = this.#offerMeasured(chunk, bytes, ms);
    if (result === 'accepted') return Promise.resolve();
    // A callback that was told of a loss may have ended the channel.
    if (this.#end !== undefined) return Promise.reject(closedError(this.#end));
    this.#openTo = 0;
    this.#bareTo = 0;
    for (const reader of this.#readers) reader.look();
    const onAbort = signal && ((): void => this.#settle()?.reject(signal.reason as Error));
    if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true });
    const unlisten = onAbort && ((): void => signal?.removeEventListener('abort', onAbort));
    return new Promise((resolve, reject) => {
      this.pending = { chunk: this.#memory?.own(chunk) ?? chunk, bytes, ms, resolve, reject, unlisten };
    });
  }

  complete(): void {
    this.#finish({ state: 'completed' });
  }

  fail(error: Error): void {
    this.#finish({ state: 'failed', error });
  }

  cut(reason: Error): void {
    this.#finish({ state: 'cut', error: reason });
  }

  cancel(reason?: Error): void {
    const error =
      reason ?? new SpillwayError('channel_cancelled', 'The channel was cancelled; what waited is gone.');
    this.#finish({ state: 'cancelled', error });
    if (this.#end?.state !== 'cancelled') return;
    this.#log.trim(this.#log.head);
    this.#memory?.shrink(this.#log);
  }

  reader(options?: LosslessReaderOptions<T>): Reader<T>;
  reader(options: ReaderOptions<T>): Reader<T | Gap>;
  reader(options: ReaderOptions<T> = {}): Reader<T | Gap> {
    this.#retention.trimOld();
    const measures = { merge: this.merge, weigh: this.#weigh, durationMs: this.#durationMs };
    const reader = new ChannelReader<T>(
      this.#log,
      this,
      checkedReaderOptions(options, this.#bounds, measures),
      this.#startOf(options.from ?? 'start'),
    );
    this.#readers.push(reader);
    this.maxMergedBytes = Math.min(this.maxMergedBytes, reader.maxChunkBytes);
    this.#retention.joined();
    this.changed();
    return reader;
  }

  moved(from: number, to: number): void {
    this.#retention.moved(from, to);
    if (this.pending !== undefined) this.#retryPending();
  }

  aloneTo(position: number): number {
    return this.#retention.aloneTo(position);
  }

  waits(): void {
    this.#waiting += 1;
    this.#openTo = 0;
    this.#bareTo = 0;
  }

  wasWoken(): void {
    this.#waiting -= 1;
  }

  left(reader: ChannelReader<T>): void {
    const index = this.#readers.indexOf(reader);
    if (index !== -1) this.#readers.splice(index, 1);
    if (this.merge !== undefined) this.#boundMerges();
    if (this.#readers.length === 0) this.forgetRoom();
    if (this.#readers.length === 0 && this.#end !== undefined) this.merge?.forget?.();
    this.#retention.left(reader.position);
    if (this.pending !== undefined) this.#retryPending();
  }

  #boundMerges(): void {
    let smallest = this.#maxMergedBytes;
    for (const { maxChunkBytes } of this.#readers) smallest = Math.min(smallest, maxChunkBytes);
    this.maxMergedBytes = smallest;
  }

  changed(): void {
    this.forgetRoom();
    this.#retryPending();
  }

  now(): number {
    return this.#clock?.nowMs() ?? Number.NaN;
  }

  #weighed(chunk: T): number {
    if (this.#weigh === undefined) return 0;
    return measured('weigh', 'bytes', this.#weigh(chunk));
  }

  #timed(chunk: T): number {
    return this.#durationMs === undefined ? 0 : measured('durationMs', 'ms', this.#durationMs(chunk));
  }

  /** The position where a reader starts. */
  #startOf(from: number | 'now' | 'start'): number {
    const log = this.#log;
    if (from === 'now') return log.head;
    if (from === 'start') return log.tail;
    if (!Number.isInteger(from) || from < 0 || from > log.nextOffset) {
      throw invalid(`from: expected an offset from 0 to ${log.nextOffset}, start or now, got ${from}.`);
    }
    const position = log.positionOf(from);
    if (position === undefined) {
      const { oldestOffset } = this;
      const kept =
        oldestOffset === log.nextOffset
          ? `nothing before offset ${oldestOffset} is kept.`
          : `the oldest chunk that is kept is ${oldestOffset}.`;
      throw new SpillwayError('history_gone', `Offset ${from} is gone, or part of a merged chunk; ${kept}`);
    }
    return position;
  }

  #offerMeasured(chunk: T, bytes: number, ms: number): OfferResult {
    const log = this.#log;
    if (this.#mergeIntoNewest(chunk)) return 'accepted';
    if (this.#hasRoomFor(bytes, ms) || this.#measureRoom(bytes, ms)) {
      this.#append(chunk, bytes, ms);
    } else {
      if (!this.#admits(bytes, ms)) return 'full';
      const skippers = this.#makeRoom(bytes, ms);
      if (this.#end !== undefined) return 'closed';
      if (skippers.length === 0 && this.#mergeIntoNewest(chunk)) return 'accepted';
      this.#append(chunk, bytes, ms);
      const offset = log.nextOffset - 1;
      for (const reader of skippers) reader.skipped(offset);
      // Backwards, because an `onPressure` callback may detach its reader.
      for (let index = this.#readers.length - 1; index >= 0; index -= 1) this.#readers[index]?.checkMarks();
      this.#measureRoom(0, 0);
    }
    if (!this.keepsNothing) this.#retention.trim();
    if (this.#waiting > 0) this.#wake();
    const isOpen = this.keepsNothing && this.#waiting === 0 && this.#end === undefined;
    this.#openTo = isOpen ? Math.min(this.#roomToPosition, log.slotsTo) : 0;
    this.#bareTo = log.isBare ? this.#openTo : 0;
    return 'accepted';
  }

  #append(chunk: T, bytes: number, ms: number): void {
    const wasTried = this.isMerging;
    this.#log.append(chunk, bytes, ms);
    if (wasTried) this.#compactor?.wasTried();
  }

  /** Returns whether the chunk was merged. */
  #mergeIntoNewest(chunk: T): boolean {
    if (!this.isMerging || this.#compactor?.mergeIntoNewest(chunk) !== true) return false;
    if (!this.keepsNothing) this.#retention.trim();
    if (this.#waiting > 0) this.#wake();
    return true;
  }

  /** Notes how far the head may go before readers have to be checked again. Returns whether the given chunk fits. */
  #measureRoom(forBytes: number, forMs: number): boolean {
    this.forgetRoom();
    // Without readers there is no bound to note: every offer has to be checked.
    if (this.#readers.length === 0) return false;
    let position = Infinity;
    let bytes = Infinity;
    let ms = Infinity;
    for (const { mark, position: at, room } of this.#readers) {
      position = Math.min(position, room.toPosition(at, mark));
      if (this.#log.isBare) continue;
      bytes = Math.min(bytes, room.toBytes(at, mark));
      ms = Math.min(ms, room.toMs(at, mark));
    }
    this.#roomToPosition = position;
    this.#roomToBytes = bytes;
    this.#roomToMs = ms;
    return this.#hasRoomFor(forBytes, forMs);
  }

  forgetRoom(): void {
    this.#openTo = 0;
    this.#bareTo = 0;
    this.#roomToPosition = 0;
    this.#roomToBytes = 0;
    this.#roomToMs = 0;
  }

  #wake(): void {
    // Backwards, because a reader's callback may detach readers.
    for (let index = this.#readers.length - 1; index >= 0; index -= 1) this.#readers[index]?.wake();
  }

  /** Carries out the policies of all full readers. Returns the readers that skip the chunk. */
  #makeRoom(bytes: number, ms: number): ChannelReader<T>[] {
    const skippers: ChannelReader<T>[] = [];
    // Backwards, because a reader that is ended for lack of room leaves the list.
    for (let index = this.#readers.length - 1; index >= 0; index -= 1) {
      const reader = this.#readers[index];
      if (reader === undefined || reader.hasRoom(bytes, ms)) continue;
      if (reader.merges) this.#compactor?.compactWaiting();
      if (!reader.hasRoom(bytes, ms) && reader.makeRoom(bytes, ms)) skippers.push(reader);
    }
    // A callback that was told of a loss may have made room for a reader. No new list, because this is rare.
    for (let index = skippers.length - 1; index >= 0; index -= 1) {
      if (skippers[index]?.hasRoom(bytes, ms)) skippers.splice(index, 1);
    }
    return skippers;
  }

  /** Whether the chunk may be written: every reader that blocks has room, if need be after a merge or a spill. */
  #admits(bytes: number, ms: number): boolean {
    if (this.#readers.length === 0)
      return !this.keepsNothing || this.#ownRoom.fits(this.#log.tail, bytes, ms);
    for (const reader of this.#readers) {
      if (!reader.blocks || reader.hasRoom(bytes, ms)) continue;
      if (reader.merges) this.#compactor?.compactWaiting();
      else reader.spill();
      if (!reader.hasRoom(bytes, ms)) return false;
    }
    return true;
  }

  #retryPending(): void {
    const pending = this.pending;
    if (pending === undefined || !this.#isHalfFree()) return;
    const fits = this.#measureRoom(pending.bytes, pending.ms);
    if (!fits && !this.#admits(pending.bytes, pending.ms)) return;
    // A spill moves cursors, which calls this method again. The pending write may be done by then.
    if (this.pending !== pending) return;
    // Settled before the chunk is written: making room moves cursors, which calls this method again.
    this.#settle();
    // The write resolves before its chunk wakes readers, so that they find more than one chunk.
    if (fits) pending.resolve();
    if (this.#offerMeasured(pending.chunk, pending.bytes, pending.ms) === 'accepted') pending.resolve();
    else if (this.#end !== undefined) pending.reject(closedError(this.#end));
  }

  /** Ends the wait of the pending write and returns the write. The caller resolves or rejects it. */
  #settle(): PendingWrite<T> | undefined {
    const { pending } = this;
    this.pending = undefined;
    pending?.unlisten?.();
    return pending;
  }

  #isHalfFree(): boolean {
    return !this.#readers.some(({ blocks, position, room }) => blocks && room.isBeyond(position, 0.5));
  }

  #finish(end: ChannelEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    if (this.#readers.length === 0) this.merge?.forget?.();
    if (end.state !== 'cancelled') this.#memory?.shrink(this.#log, true);
    this.#openTo = 0;
    this.#bareTo = 0;
    this.#settle()?.reject(closedError(end));
    for (let index = this.#readers.length - 1; index >= 0; index -= 1) this.#readers[index]?.ended();
  }
}
