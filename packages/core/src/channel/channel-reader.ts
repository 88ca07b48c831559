import type { Credit } from '../credit/credit.ts';
import { SpillwayError } from '../errors.ts';
import type { ChunkLog, MergeEntries } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { LossyOverflow, Overflow } from './overflow.ts';
import type { Bounds, Reader, ReaderEnd, TakeLimits } from './reader.ts';

/** What a reader needs from its channel. */
export interface ReaderHost<T> {
  readonly end: ReaderEnd | undefined;
  readonly merge: MergeEntries<T> | undefined;
  /** How many readers wait: a reader counts itself in and out. */
  waiting: number;
  /** The reader's cursor moved: chunks may be let go, a writer may go on. */
  moved(from: number, to: number): void;
  left(reader: ChannelReader<T>): void;
  now(): number;
}

export class ChannelReader<T> implements Reader<T | Gap> {
  readonly overflow: Overflow;
  readonly bounds: Bounds;
  readonly #log: ChunkLog<T>;
  readonly #host: ReaderHost<T>;
  readonly #onGap: ((gap: Gap) => void) | undefined;
  readonly #credit: readonly Credit[];
  /** Stops listening for grants; there is something to stop only while somebody waits. */
  #unlisten: (() => void)[] = [];
  /** The position of the next entry. */
  #next: number;
  /** The bytes of all entries before `#next`: with the log's total it gives the lag in one step. */
  #passedBytes: number;
  /** What was lost right before `#next`. */
  #gap: Gap | undefined;
  /** What comes before the gap and the cursor. */
  readonly #kept = new KeptChunks<T>();
  /** Whether something is kept, or a gap comes before the cursor. */
  #hasBefore = false;
  /** Whether the next item is just the next entry: it is not over, nothing comes before, no merge, no credit. */
  #isPlain: boolean;
  /** Entries below this position were there before the reader asked, so they may be merged. */
  #waitedTo = 0;
  #ownEnd: ReaderEnd | undefined;
  #waiter: PromiseWithResolvers<boolean> | undefined;
  /** The chunks that were part of what was delivered, less one for each delivery. */
  #deliveredMerged = 0;
  deliveredItems = 0;
  droppedItems = 0;

  constructor(
    log: ChunkLog<T>,
    host: ReaderHost<T>,
    options: {
      readonly overflow: Overflow;
      readonly bounds: Bounds;
      readonly credit: readonly Credit[];
      readonly onGap: ((gap: Gap) => void) | undefined;
    },
    start: { readonly position: number; readonly passedBytes: number },
  ) {
    this.#log = log;
    this.#host = host;
    this.overflow = options.overflow;
    this.bounds = options.bounds;
    this.#onGap = options.onGap;
    this.#credit = options.credit;
    this.#next = start.position;
    this.#passedBytes = start.passedBytes;
    this.#isPlain = false;
    this.#refresh();
  }

  /** The position of the next entry in the log. */
  get position(): number {
    return this.#next;
  }

  /** The bytes of all entries before the position. */
  get passedBytes(): number {
    return this.#passedBytes;
  }

  /** Whether a full reader makes the source wait. */
  get blocks(): boolean {
    return this.overflow === 'block' || this.overflow === 'coalesce';
  }

  get offset(): number {
    return this.#kept.first?.from ?? this.#gap?.from ?? this.#log.offsetAt(this.#next);
  }

  get waitingItems(): number {
    return this.#isOver() ? 0 : this.#log.head - this.#next + this.#kept.items;
  }

  get mergedItems(): number {
    if (this.#isOver()) return this.#deliveredMerged;
    const waitingChunks = this.#log.nextOffset - this.#log.offsetAt(this.#next) + this.#kept.chunks;
    return this.#deliveredMerged + waitingChunks - this.waitingItems;
  }

  get waitingBytes(): number {
    return this.#isOver() ? 0 : this.#log.appendedBytes - this.#passedBytes + this.#kept.bytes;
  }

  get waitingMs(): number {
    const now = this.#host.now();
    if (this.#isOver() || this.waitingItems === 0) return 0;
    return now - (this.#kept.oldestTime ?? this.#log.timeAt(this.#next));
  }

  get end(): ReaderEnd | undefined {
    if (this.#ownEnd !== undefined) return this.#ownEnd;
    const end = this.#host.end;
    // What was written before an end or a failure is still delivered; a cancel discards it.
    if (end === undefined || end.state === 'cancelled') return end;
    return this.#hasItems() ? undefined : end;
  }

  take(): T | Gap | undefined {
    if (!this.#isPlain) return this.#takeOtherwise();
    const log = this.#log;
    const position = this.#next;
    if (position === log.head) return undefined;
    const chunk = log.at(position);
    this.#passedBytes += log.bytesAt(position);
    this.#next = position + 1;
    this.deliveredItems += 1;
    if (log.hasMerged) this.#deliveredMerged += log.offsetAt(position + 1) - log.offsetAt(position) - 1;
    this.#host.moved(position, position + 1);
    return chunk;
  }

  takeAll(limits?: TakeLimits): (T | Gap)[] {
    if (limits === undefined && this.#isPlain) return this.#takeRest();
    const { maxBytes = Infinity, maxItems = Infinity } = limits ?? {};
    const items: (T | Gap)[] = [];
    let bytes = 0;
    while (items.length < maxItems) {
      bytes += this.#nextBytes();
      if (bytes > maxBytes && items.length > 0) break;
      const item = this.take();
      if (item === undefined) break;
      items.push(item);
    }
    return items;
  }

  ready(): Promise<boolean> {
    if (this.#hasNext()) {
      this.#waitedTo = this.#log.head;
      return Promise.resolve(true);
    }
    if (this.end !== undefined) return Promise.resolve(false);
    if (this.#waiter === undefined) {
      this.#waiter = Promise.withResolvers<boolean>();
      this.#host.waiting += 1;
      this.#unlisten = this.#credit.map((credit) => credit.onGrant(() => this.#granted()));
    }
    return this.#waiter.promise;
  }

  detach(): void {
    this.#finish({ state: 'detached' });
  }

  /** Not a generator: what is there costs one promise, where a generator takes three. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T | Gap, undefined> {
    return {
      next: () => {
        // Every call asks anew: what came since the last one waited.
        this.#waitedTo = this.#log.head;
        const value = this.take();
        return value === undefined ? this.#nextLater() : Promise.resolve({ value });
      },
      return: () => {
        this.detach();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.detach();
    return Promise.resolve();
  }

  /** The head may go up to here before this reader is full. */
  get roomToPosition(): number {
    return this.#next + this.bounds.maxItems - this.#kept.items;
  }

  /** What was appended may come to this before this reader is full. */
  get roomToBytes(): number {
    return this.#passedBytes + this.bounds.maxBytes - this.#kept.bytes;
  }

  /** Whether a chunk of that size fits now. */
  hasRoom(bytes: number): boolean {
    const items = this.#log.head - this.#next + this.#kept.items;
    if (items === 0) return true;
    return (
      items < this.bounds.maxItems &&
      this.#log.appendedBytes - this.#passedBytes + this.#kept.bytes + bytes <= this.bounds.maxBytes
    );
  }

  /**
   * Carries out the overflow policy for a chunk that does not fit, before it is written. Returns whether
   * this reader skips the chunk.
   */
  makeRoom(bytes: number): boolean {
    switch (this.overflow) {
      case 'drop-oldest':
        this.#dropWhile(() => !this.hasRoom(bytes), 'drop-oldest');
        return false;
      case 'latest':
        this.#dropWhile(() => this.#next < this.#log.head, 'latest');
        return false;
      case 'drop-newest':
        this.#keepWaiting();
        return true;
      case 'disconnect':
        this.#finish({ state: 'disconnected', offset: this.offset });
        return false;
      case 'error':
        this.#finish({ state: 'failed', error: this.#overflowError(bytes) });
        return false;
      default:
        throw new Error(`a full reader with the policy ${this.overflow} makes the source wait`);
    }
  }

  /** The chunk that was just written is not for this reader, which is at the head but for it. */
  skipped(offset: number, bytes: number): void {
    const position = this.#next;
    this.#next += 1;
    this.#passedBytes += bytes;
    this.droppedItems += 1;
    this.#lost(offset, offset + 1, bytes, 'drop-newest');
    this.#host.moved(position, this.#next);
  }

  /** Entries before or behind the cursor were merged. */
  compacted(position: number, savedBytes: number): void {
    this.#next = position;
    this.#passedBytes -= savedBytes;
    this.#waitedTo = Math.min(this.#waitedTo, this.#log.head);
  }

  /** Something was written, or the channel ended. */
  wake(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const hasNext = this.#hasNext();
    if (!hasNext && this.end === undefined) return;
    this.#waiter = undefined;
    this.#host.waiting -= 1;
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    waiter.resolve(hasNext);
  }

  async #nextLater(): Promise<IteratorResult<T | Gap, undefined>> {
    while (await this.ready()) {
      const value = this.take();
      if (value !== undefined) return { value };
    }
    const end = this.end;
    this.detach();
    if (end !== undefined && 'error' in end) throw end.error;
    if (end?.state === 'disconnected') throw disconnectedError(end.offset);
    return { done: true, value: undefined };
  }

  #granted(): void {
    // What is there now waited, if only for credit.
    this.#waitedTo = this.#log.head;
    this.wake();
  }

  /** The channel has ended. */
  ended(): void {
    this.#refresh();
    this.wake();
  }

  /** Takes with all that can be in the way. Apart, so that `take` stays small enough to be inlined. */
  #takeOtherwise(): T | Gap | undefined {
    if (!this.#hasNext()) return undefined;
    return this.#hasBefore ? this.#takeBefore() : this.#takeMerged(this.#log.at(this.#next));
  }

  /** Everything that waits, in one step. */
  #takeRest(): T[] {
    const log = this.#log;
    const position = this.#next;
    if (position === log.head) return [];
    const items = log.rest(position);
    this.#deliveredMerged += log.nextOffset - log.offsetAt(position) - items.length;
    this.#passedBytes = log.appendedBytes;
    this.#next = log.head;
    this.deliveredItems += items.length;
    this.#host.moved(position, this.#next);
    return items;
  }

  /** Takes the next chunk with what waited behind it, as far as that can be merged, and spends credit. */
  #takeMerged(first: T): T {
    const position = this.#next;
    const offset = this.#log.offsetAt(position);
    let chunk = first;
    let bytes = this.#log.bytesAt(position);
    this.#passedBytes += bytes;
    this.#next = position + 1;
    while (this.overflow === 'coalesce' && this.#next < this.#waitedTo) {
      const merged = this.#host.merge?.(
        chunk,
        bytes,
        this.#log.at(this.#next),
        this.#log.bytesAt(this.#next),
      );
      if (merged === undefined || !this.#covers(merged.bytes)) break;
      this.#passedBytes += this.#log.bytesAt(this.#next);
      this.#next += 1;
      ({ bytes, chunk } = merged);
    }
    for (const credit of this.#credit) credit.spend(1, bytes);
    this.deliveredItems += 1;
    this.#deliveredMerged += this.#log.offsetAt(this.#next) - offset - 1;
    this.#host.moved(position, this.#next);
    return chunk;
  }

  /** What comes before the cursor: what was kept, then the gap. */
  #takeBefore(): T | Gap | undefined {
    const item = this.#kept.shift() ?? this.#gap;
    if (item === this.#gap) this.#gap = undefined;
    this.#hasBefore = this.#kept.first !== undefined || this.#gap !== undefined;
    this.#refresh();
    if (item === undefined || item instanceof Gap) return item;
    for (const credit of this.#credit) credit.spend(1, item.bytes);
    this.deliveredItems += 1;
    this.#deliveredMerged += item.to - item.from - 1;
    return item.chunk;
  }

  /** Moves what waits out of the log, so that the cursor can stand at its head. */
  #keepWaiting(): void {
    if (this.#next === this.#log.head) return;
    this.#hasBefore = true;
    this.#refresh();
    if (this.#gap !== undefined) this.#kept.push(this.#gap);
    this.#gap = undefined;
    const position = this.#next;
    for (; this.#next < this.#log.head; this.#next += 1) {
      const from = this.#log.offsetAt(this.#next);
      const to = this.#log.offsetAt(this.#next + 1);
      const bytes = this.#log.bytesAt(this.#next);
      this.#kept.push({
        from,
        to,
        chunk: this.#log.at(this.#next),
        bytes,
        time: this.#log.timeAt(this.#next),
      });
      this.#passedBytes += bytes;
    }
    this.#host.moved(position, this.#next);
  }

  #dropWhile(hasToDrop: () => boolean, reason: LossyOverflow): void {
    const position = this.#next;
    const from = this.#log.offsetAt(position);
    let bytes = 0;
    while (hasToDrop()) {
      bytes += this.#log.bytesAt(this.#next);
      this.#passedBytes += this.#log.bytesAt(this.#next);
      this.#next += 1;
    }
    const to = this.#log.offsetAt(this.#next);
    this.droppedItems += to - from;
    this.#lost(from, to, bytes, reason);
    this.#host.moved(position, this.#next);
  }

  #lost(from: number, to: number, bytes: number, reason: LossyOverflow): void {
    const before = this.#gap;
    this.#hasBefore = true;
    this.#refresh();
    this.#gap =
      before === undefined
        ? new Gap(from, to, bytes, reason)
        : new Gap(before.from, to, before.bytes + bytes, reason);
    this.#onGap?.(new Gap(from, to, bytes, reason));
  }

  #nextBytes(): number {
    if (this.#kept.first !== undefined) return this.#kept.first.bytes;
    return this.#gap === undefined && this.#next < this.#log.head ? this.#log.bytesAt(this.#next) : 0;
  }

  #hasItems(): boolean {
    return !this.#isOver() && (this.#next !== this.#log.head || this.#hasBefore);
  }

  /** Whether something can be taken: it is there, and credit allows it. */
  #hasNext(): boolean {
    if (!this.#hasItems()) return false;
    if (this.#credit.length === 0 || this.#isGapNext()) return true;
    const bytes = this.#nextBytes();
    return this.#credit.every((credit) => credit.allows(1, bytes));
  }

  /** Whether credit covers a chunk that could be smaller: no exception for one beyond the whole window. */
  #covers(bytes: number): boolean {
    return this.#credit.every((credit) => bytes <= credit.available.bytes);
  }

  #isGapNext(): boolean {
    const { first } = this.#kept;
    return first === undefined ? this.#gap !== undefined : first instanceof Gap;
  }

  #refresh(): void {
    this.#isPlain =
      !this.#hasBefore && this.overflow !== 'coalesce' && this.#credit.length === 0 && !this.#isOver();
  }

  #isOver(): boolean {
    return this.#ownEnd !== undefined || this.#host.end?.state === 'cancelled';
  }

  #finish(end: ReaderEnd): void {
    if (this.end !== undefined) return;
    this.#ownEnd = end;
    this.#gap = undefined;
    this.#kept.clear();
    this.#hasBefore = false;
    this.#refresh();
    this.#host.left(this);
    this.wake();
  }

  #overflowError(bytes: number): SpillwayError {
    const { maxBytes, maxItems } = this.bounds;
    return new SpillwayError(
      'reader_overflow',
      `The reader fell behind: ${this.waitingItems} chunks (${this.waitingBytes} bytes) wait and one of ` +
        `${bytes} bytes came, its bound is ${maxItems} chunks and ${maxBytes} bytes. Read faster, raise ` +
        'the bound, or choose another overflow policy.',
    );
  }
}

function disconnectedError(offset: number): SpillwayError {
  return new SpillwayError(
    'reader_disconnected',
    `The reader fell behind and was disconnected. It can come back at offset ${offset}.`,
  );
}
