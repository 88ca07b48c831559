import { asError } from '../as-error.ts';
import type { SpillwayError } from '../errors.ts';
import { BeforeCursor } from './before-cursor.ts';
import { checkedLimits } from './channel-options.ts';
import type { ChunkLog, Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { iterate } from './iterate.ts';
import { KeptChunks } from './kept-chunks.ts';
import { isLossy, type Overflow, overflowError } from './overflow.ts';
import type { Bounds, TakeLimits } from './bounds.ts';
import type { Reader, ReaderEnd } from './reader.ts';
import { PressureMarks } from './pressure-marks.ts';
import type { ChannelReaderOptions, ReaderHost } from './reader-host.ts';
import { ReaderLimits } from './reader-limits.ts';
import { ReaderRoom } from './reader-room.ts';
import type { Spill, SpillOwner } from './spill-policy.ts';
import { checkSkip } from './skip.ts';
import { spillMark } from './spill-mark.ts';
import { Waiter } from './waiter.ts';

/**
 * One cursor on a channel's chunks. The file is long because `take` is on the path of every token: items before the
 * cursor, credit, gates, merging and the end all decide what is taken next. Parts that can be read alone have their own files
 * ({@link BeforeCursor}, {@link ReaderLimits}, {@link PressureMarks}).
 */
export class ChannelReader<T> implements Reader<T | Gap>, SpillOwner {
  readonly overflow: Overflow | 'spill';
  /** Whether chunks that wait for this reader may be merged to make room. */
  readonly merges: boolean;
  /** Whether this reader can make the source wait. */
  readonly blocks: boolean;
  readonly bounds: Bounds;
  readonly #log: ChunkLog<T>;
  readonly #host: ReaderHost<T, ChannelReader<T>>;
  readonly #limits: ReaderLimits;
  readonly room: ReaderRoom<T>;
  /** The position of the next entry in the chunk log. */
  #next: number;
  readonly #before: BeforeCursor<T>;
  /** The chunks of this reader in a store, if its policy is `spill`. */
  readonly #spilled: Spill<T> | undefined;
  /**
   * Whether `take` returns the next entry of the chunk log as it is: the reader has not ended, nothing comes before its
   * cursor, and merging, credit, gates and marks play no part.
   */
  #isPlain = false;
  /**
   * Fast path: while next < plainTo, `take` needs no checks. The reader is plain, entries are there, and no write waits
   * for this cursor. A lower bound, recomputed when reached.
   */
  #plainTo = 0;
  /** Whether this reader is the only slowest one below `plainTo`. Then this reader trims the chunk log itself. */
  #isAlone = false;
  readonly #pressure: PressureMarks<T>;
  /** The most bytes that a merge during `takeAll` may make, and the bytes of the item taken last. */
  #mergeToBytes = Infinity;
  #takenBytes = 0;
  /** Entries below this position were written before the reader asked, so they may be merged. */
  #waitedTo = 0;
  #ownEnd: ReaderEnd | undefined;
  /** The reader's offset when it left the channel. The channel does not know the reader afterwards. */
  #leftAt: number | undefined;
  readonly #waiter = new Waiter();
  /** The chunks in all delivered items, less one for each item. */
  #deliveredMerged = 0;
  deliveredItems = 0;
  droppedItems = 0;

  constructor(
    log: ChunkLog<T>,
    host: ReaderHost<T, ChannelReader<T>>,
    options: ChannelReaderOptions<T>,
    position: number,
  ) {
    const { bounds, credit, gates, merges, onCreditBlocked, overflow } = options;
    this.#log = log;
    this.#host = host;
    this.#pressure = new PressureMarks(options);
    this.merges = merges;
    this.bounds = bounds;
    this.#limits = new ReaderLimits(credit, gates, onCreditBlocked && (() => this.#call(onCreditBlocked)));
    this.#next = position;
    this.#spilled = typeof overflow === 'string' ? undefined : overflow.open(this, bounds);
    this.overflow = typeof overflow === 'string' ? overflow : 'spill';
    this.blocks = ['block', 'coalesce', 'spill'].includes(this.overflow);
    const kept = overflow === 'drop-newest' ? new KeptChunks<T>() : this.#spilled;
    this.#before = new BeforeCursor(kept, options);
    this.room = new ReaderRoom(log, bounds, this.#before.kept);
    this.#refresh();
  }

  /** The position of the next entry in the chunk log. */
  get position(): number {
    return this.#next;
  }

  get offset(): number {
    return this.#leftAt ?? this.#before.offset ?? this.#log.offsetAt(this.#next);
  }

  get waitingItems(): number {
    return this.#isOver() ? 0 : this.#log.head - this.#next + this.#before.kept.items;
  }

  get spilledItems(): number {
    return this.#before.kept.storedItems;
  }

  get mergedItems(): number {
    if (this.#isOver()) return this.#deliveredMerged;
    const { chunks, storedChunks, storedItems } = this.#before.kept;
    const toCome = this.#log.nextOffset - this.#log.offsetAt(this.#next) + chunks + storedChunks;
    return this.#deliveredMerged + toCome - this.waitingItems - storedItems;
  }

  get waitingBytes(): number {
    return this.#isOver() ? 0 : this.#log.bytesFrom(this.#next) + this.#before.kept.bytes;
  }

  get waitingMs(): number {
    return this.#isOver() ? 0 : this.#log.msFrom(this.#next) + this.#before.kept.ms;
  }

  get ageMs(): number {
    const now = this.#host.now();
    if (this.waitingItems + this.spilledItems === 0) return 0;
    return now - (this.#before.kept.oldestTime ?? this.#log.timeAt(this.#next));
  }

  get end(): ReaderEnd | undefined {
    if (this.#ownEnd !== undefined) return this.#ownEnd;
    const end = this.#host.end;
    // Chunks written before a completion or a failure are still delivered; a cancel discards them.
    if (end === undefined || end.state === 'cancelled') return end;
    return this.#hasItems() || !this.#limits.allowEnd ? undefined : end;
  }

  /** Short, so that the engine can inline it. */
  take(): T | Gap | undefined {
    const position = this.#next;
    if (position >= this.#plainTo) return this.#takeSlowly();
    this.#next = position + 1;
    this.deliveredItems += 1;
    return this.#isAlone ? this.#log.shift() : this.#log.at(position);
  }

  takeAll(limits?: TakeLimits): (T | Gap)[] {
    if (limits === undefined && this.#isPlain) return this.#takeRest();
    const { maxBytes, maxItems } = checkedLimits(limits ?? {});
    const items: (T | Gap)[] = [];
    this.#mergeToBytes = maxBytes;
    while (items.length < maxItems) {
      this.#takenBytes = this.#nextBytes();
      if (this.#takenBytes > this.#mergeToBytes && items.length > 0) break;
      const item = this.take();
      if (item === undefined) break;
      this.#mergeToBytes -= this.#takenBytes;
      items.push(item);
    }
    this.#mergeToBytes = Infinity;
    return items;
  }

  ready(): Promise<boolean> {
    if (this.#hasNextNow()) return Promise.resolve(true);
    if (this.#isAtEnd()) return Promise.resolve(false);
    this.#wait();
    const woken = this.#waiter.promise();
    this.#tellBlocked();
    return woken;
  }

  whenReady(callback: () => void): boolean {
    if (this.#hasNextNow() || this.#isAtEnd()) return true;
    this.#wait();
    this.#waiter.callBack(callback);
    this.#tellBlocked();
    return false;
  }

  /** Whether something can be taken now. If so, all entries up to the head count as waiting, and may be merged. */
  #hasNextNow(): boolean {
    const hasNext = this.#hasNext();
    if (hasNext) this.#waitedTo = this.#log.head;
    return hasNext;
  }

  /** Whether nothing will come any more. If so, the reader leaves the channel. */
  #isAtEnd(): boolean {
    if (this.end === undefined) return false;
    this.#leave();
    return true;
  }

  #wait(): void {
    if (this.#waiter.isWaiting) return;
    void this.#spilled?.fetch();
    this.#host.waits();
    this.#limits.listen(() => {
      // Entries that are there now have waited, if only for credit or a gate.
      this.#waitedTo = this.#log.head;
      this.wake();
    });
  }

  skip(reason: string): Gap | undefined {
    checkSkip(reason, this.#host.isInMerge);
    if (this.#isOver() || this.waitingItems + this.spilledItems === 0) return undefined;
    const position = this.#next;
    this.#next = this.#log.head;
    const { chunks, gap } = this.#before.skip(this.#log, position, reason, isLossy(this.overflow));
    this.droppedItems += chunks;
    this.#lost(position);
    if (this.#pressure.isHigh && !this.#isOver()) this.checkMarks();
    this.wake();
    return gap;
  }

  detach(): void {
    this.#finish({ state: 'detached' });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T | Gap, undefined> {
    return iterate(this, () => (this.#waitedTo = this.#log.head));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.detach();
    return Promise.resolve();
  }

  /** The size of the largest chunk that fits the reader's bound and its credit windows. */
  get maxChunkBytes(): number {
    return Math.min(this.bounds.maxBytes, this.#limits.maxBytes);
  }

  /** The part of the bound beyond which this reader spills, passes a mark or is full. */
  get mark(): number {
    const full = this.#spilled?.isAppending === false ? spillMark : 1;
    return Math.min(full, this.#pressure.next);
  }

  /** Whether a chunk of that size fits now. */
  hasRoom(bytes: number, ms: number): boolean {
    return this.room.fits(this.#next, bytes, ms);
  }

  /** Ends the fast path of `take`, because its conditions may have changed. */
  look(): void {
    this.#plainTo = 0;
  }

  /** Spills or reports pressure, if the last written chunk passed a mark. */
  checkMarks(): void {
    if (this.#spilled !== undefined && this.room.isBeyond(this.#next, spillMark)) this.spill();
    if (!this.#pressure.pass(this.room, this.#next)) return;
    this.#refresh();
    this.#host.forgetRoom();
    this.#call(() => this.#pressure.tell());
  }

  /** Appends the waiting entries of the chunk log to the store, if this reader has one and no append is under way. */
  spill(): void {
    if (this.#spilled === undefined || this.#spilled.isAppending || this.#host.end !== undefined) return;
    const position = this.#next;
    const entries = this.#takeEntries();
    if (entries.length === 0) return;
    void this.#spilled.append(entries);
    this.#refresh();
    this.#host.moved(position, this.#next);
  }

  spillChanged(): void {
    if (this.#host.end === undefined) this.checkMarks();
    this.#host.changed();
    this.wake();
  }

  spillFailed(error: SpillwayError): void {
    this.#finish({ state: 'failed', error });
  }

  /**
   * Carries out the overflow policy for a chunk that does not fit, before it is written. Returns whether
   * this reader skips the chunk.
   */
  makeRoom(bytes: number, ms: number): boolean {
    switch (this.overflow) {
      case 'drop-oldest':
        this.#dropWhile(() => !this.hasRoom(bytes, ms));
        return false;
      case 'latest':
        this.#dropWhile(() => this.#next < this.#log.head);
        return false;
      case 'drop-newest':
        this.#keepWaiting();
        return true;
      case 'disconnect':
        this.#finish({ state: 'disconnected', offset: this.offset });
        return false;
      case 'error':
        this.#finish({ state: 'failed', error: overflowError(this, bytes, ms) });
        return false;
      default:
        throw new Error(`a full reader with the policy ${this.overflow} makes the source wait`);
    }
  }

  /** The chunk just written is not for this reader, whose cursor stands right before that chunk. */
  skipped(offset: number): void {
    // A callback of another reader may have ended or moved this one.
    if (this.#isOver() || this.#log.offsetAt(this.#next) !== offset) return;
    this.#next += 1;
    this.#lose(this.#next - 1);
  }

  /** Sets the cursor to its new position after entries of the chunk log were merged. */
  compacted(position: number): void {
    this.look();
    this.#next = position;
    this.#waitedTo = Math.min(this.#waitedTo, this.#log.head);
  }

  /** Wakes the waiting code, if something can be taken or the reader has ended. */
  wake(): void {
    if (!this.#waiter.isWaiting) return;
    const hasNext = this.#hasNext();
    if (!hasNext && this.end === undefined) {
      // Credit may have been granted for a chunk in the store.
      void this.#spilled?.fetch();
      this.#tellBlocked();
      return;
    }
    this.#host.wasWoken();
    this.#limits.unlisten();
    this.#call(() => this.#waiter.end(hasNext));
  }

  /** Called when the channel has ended. */
  ended(): void {
    if (this.#isOver()) this.#before.clear();
    else void this.#spilled?.seal();
    this.#refresh();
    this.wake();
  }

  /** Takes the next item, and computes how far the fast path may go. */
  #takeSlowly(): T | Gap | undefined {
    if (!this.#isPlain) return this.#takeOtherwise();
    const log = this.#log;
    const position = this.#next;
    if (position === log.head) {
      this.#isAtEnd();
      return undefined;
    }
    const chunk = log.at(position);
    this.#next = position + 1;
    this.deliveredItems += 1;
    if (log.hasMerged) this.#deliveredMerged += log.offsetAt(position + 1) - log.offsetAt(position) - 1;
    this.#host.moved(position, this.#next);
    // A write that went on in the freed room may have ended this reader.
    if (!this.#isPlain) return chunk;
    if (this.#next === log.head || log.hasMerged || !this.#host.keepsNothing) return chunk;
    const aloneTo = this.#host.aloneTo(this.#next);
    this.#isAlone = aloneTo > 0;
    // With several readers at the tail, each must report its step: the last one's step trims the chunk log.
    if (!this.#isAlone && this.#next === log.tail) return chunk;
    this.#plainTo = Math.min(this.#isAlone ? aloneTo : Infinity, this.room.awaitedAt(this.#next, this.#host));
    return chunk;
  }

  /** Takes the next item where merging, credit, gates, marks or items before the cursor play a part. */
  #takeOtherwise(): T | Gap | undefined {
    if (!this.#hasNext()) {
      if (!this.#isAtEnd()) void this.#spilled?.fetch();
      return undefined;
    }
    const item = this.#before.isEmpty ? this.#takeMerged(this.#log.at(this.#next)) : this.#takeBefore();
    if (this.#pressure.isHigh) this.checkMarks();
    return item;
  }

  /** Takes all waiting entries in one step. */
  #takeRest(): T[] {
    const log = this.#log;
    const position = this.#next;
    if (position === log.head) {
      this.#isAtEnd();
      return [];
    }
    const items = log.rest(position);
    this.#deliveredMerged += log.nextOffset - log.offsetAt(position) - items.length;
    this.#next = log.head;
    this.deliveredItems += items.length;
    this.#host.moved(position, this.#next);
    return items;
  }

  /** Takes the next chunk, merged with chunks that waited after it, and spends credit. */
  #takeMerged(first: T): T {
    const position = this.#next;
    const offset = this.#log.offsetAt(position);
    let chunk = first;
    let bytes = this.#log.bytesAt(position);
    let ms = this.#log.msAt(position);
    this.#next = position + 1;
    while (this.overflow === 'coalesce' && this.#next < this.#waitedTo) {
      const merged = this.#host.mergeEntries(chunk, this.#log.at(this.#next));
      if (merged === undefined || merged.bytes > this.#mergeToBytes) break;
      if (!this.#limits.cover(merged.bytes, merged.ms, this.#log.offsetAt(this.#next + 1))) break;
      this.#next += 1;
      ({ bytes, chunk, ms } = merged);
    }
    this.#takenBytes = bytes;
    this.#limits.spend(bytes, ms);
    this.deliveredItems += 1;
    this.#deliveredMerged += this.#log.offsetAt(this.#next) - offset - 1;
    this.#host.moved(position, this.#next);
    return chunk;
  }

  /** Takes an item from before the cursor: first the kept chunks, then the gap. */
  #takeBefore(): T | Gap | undefined {
    const item = this.#before.shift();
    this.#refresh();
    if (item === undefined || item instanceof Gap) return item;
    this.#limits.spend(item.bytes, item.ms);
    this.deliveredItems += 1;
    this.#deliveredMerged += item.to - item.from - 1;
    return item.chunk;
  }

  /** Moves the waiting entries out of the chunk log, so that the cursor can stand at the head. */
  #keepWaiting(): void {
    const position = this.#next;
    if (position === this.#log.head) return;
    this.#before.keep(this.#takeEntries());
    this.#refresh();
    this.#host.moved(position, this.#next);
  }

  /** Takes the waiting entries out of the chunk log. The caller reports the move to the host. */
  #takeEntries(): Entry<T>[] {
    const entries: Entry<T>[] = [];
    for (; this.#next < this.#log.head; this.#next += 1) entries.push(this.#log.entryAt(this.#next));
    return entries;
  }

  /** Drops entries while the condition holds. */
  #dropWhile(hasToDrop: () => boolean): void {
    const position = this.#next;
    while (hasToDrop()) this.#next += 1;
    this.#lose(position);
  }

  /** Runs a callback. A throw fails this reader; the channel and its other readers go on. */
  #call(callback: () => void): void {
    try {
      callback();
    } catch (reason) {
      this.#finish({ state: 'failed', error: asError(reason) });
    }
  }

  /** Records as lost the entries between the old cursor and the new one. */
  #lose(position: number): void {
    this.droppedItems += this.#before.lost(this.#log, position, this.#next, this.overflow);
    this.#lost(position);
  }

  /** Reports a loss of the entries after the old cursor. The callbacks come last, because they may do anything. */
  #lost(position: number): void {
    this.#refresh();
    this.#host.moved(position, this.#next);
    const { losses } = this.#before;
    if (losses !== undefined) this.#call(() => losses.tell());
  }

  #nextBytes(): number {
    return this.#before.firstBytes ?? (this.#next < this.#log.head ? this.#log.bytesAt(this.#next) : 0);
  }

  #hasItems(): boolean {
    return !this.#isOver() && (this.#next !== this.#log.head || !this.#before.isEmpty);
  }

  /** Whether an item can be taken: it is in memory, and credit and gates allow it. */
  #hasNext(): boolean {
    if (this.#isPlain) return this.#next !== this.#log.head;
    if (!this.#hasItems() || !this.#before.isHere) return false;
    const { first } = this.#before;
    if (this.#limits.areNone || first instanceof Gap) return true;
    const bytes = first?.bytes ?? this.#log.bytesAt(this.#next);
    const ms = first?.ms ?? this.#log.msAt(this.#next);
    return this.#limits.allow(bytes, ms, first?.to ?? this.#log.offsetAt(this.#next + 1));
  }

  /** Called after the wait has begun, because `onCreditBlocked` may grant credit at once. */
  #tellBlocked(): void {
    if (!this.#hasItems() || !this.#before.isHere) return;
    this.#limits.blocked(this.#before.first?.to ?? this.#log.offsetAt(this.#next + 1));
  }

  #refresh(): void {
    this.look();
    this.#isPlain =
      this.#before.isEmpty &&
      !this.#pressure.isHigh &&
      this.overflow !== 'coalesce' &&
      this.#limits.areNone &&
      !this.#isOver();
  }

  #isOver(): boolean {
    return this.#ownEnd !== undefined || this.#leftAt !== undefined || this.#host.end?.state === 'cancelled';
  }

  #finish(end: ReaderEnd): void {
    if (!this.#isAtEnd()) {
      this.#leave(end);
      this.wake();
    }
  }

  /**
   * Leaves the channel, with an end of its own or with the channel's. The channel then drops the reader, and the chunks
   * that waited for this reader alone.
   */
  #leave(ownEnd?: ReaderEnd): void {
    if (this.#leftAt !== undefined) return;
    this.#leftAt = this.offset;
    this.#ownEnd = ownEnd;
    this.#before.clear();
    this.#refresh();
    this.#host.left(this);
  }
}
