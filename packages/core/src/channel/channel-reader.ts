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
import { ReaderCredit } from './reader-credit.ts';
import type { ChannelReaderOptions, ReaderHost } from './reader-host.ts';
import { ReaderRoom } from './reader-room.ts';
import type { Spill, SpillOwner } from './spill-policy.ts';
import { checkSkip } from './skip.ts';
import { spillMark } from './spill-mark.ts';
import { Waiter } from './waiter.ts';

/**
 * One cursor on a channel's chunks. This file is longer than others because taking a chunk is the path of every token: what comes
 * before the cursor, credit, a merge and the end each decide what is taken next. What can be read alone stands alone
 * ({@link BeforeCursor}, {@link ReaderCredit}, {@link PressureMarks}).
 */
export class ChannelReader<T> implements Reader<T | Gap>, SpillOwner {
  readonly overflow: Overflow | 'spill';
  /** Whether what waits for it may be merged to make room. */
  readonly merges: boolean;
  /** Whether it can make the source wait. */
  readonly blocks: boolean;
  readonly bounds: Bounds;
  readonly #log: ChunkLog<T>;
  readonly #host: ReaderHost<T, ChannelReader<T>>;
  readonly #credit: ReaderCredit;
  readonly room: ReaderRoom<T>;
  /** The position of the next entry. */
  #next: number;
  readonly #before: BeforeCursor<T>;
  /** What is kept there, if this reader spills. */
  readonly #spilled: Spill<T> | undefined;
  /** Whether the next item is just the next entry: not over, nothing before, no merge, no credit, no mark. */
  #isPlain: boolean;
  /**
   * Below this position taking is nothing but taking: the reader is plain, entries are there, and no writer
   * waits for it to come so far. It is only ever too low, and noted anew when it is reached.
   */
  #plainTo = 0;
  /** Whether this reader, below that position, is slower than all others: it alone lets go of entries. */
  #isAlone = false;
  readonly #pressure: PressureMarks<T>;
  /** The most that merging on take may make of what is taken, and what was taken last. */
  #mergeToBytes = Infinity;
  #takenBytes = 0;
  /** Entries below this position were there before the reader asked, so they may be merged. */
  #waitedTo = 0;
  #ownEnd: ReaderEnd | undefined;
  /** Where it stood when it left the channel, which then does not know it any more. */
  #leftAt: number | undefined;
  readonly #waiter = new Waiter();
  /** The chunks that were part of what was delivered, less one for each delivery. */
  #deliveredMerged = 0;
  deliveredItems = 0;
  droppedItems = 0;

  constructor(
    log: ChunkLog<T>,
    host: ReaderHost<T, ChannelReader<T>>,
    options: ChannelReaderOptions<T>,
    position: number,
  ) {
    const { bounds, credit, merges, onCreditBlocked, overflow } = options;
    this.#log = log;
    this.#host = host;
    this.#pressure = new PressureMarks(options);
    this.merges = merges;
    this.bounds = bounds;
    this.#credit = new ReaderCredit(credit, onCreditBlocked && (() => this.#call(onCreditBlocked)));
    this.#next = position;
    this.#spilled = typeof overflow === 'string' ? undefined : overflow.open(this, bounds);
    this.overflow = typeof overflow === 'string' ? overflow : 'spill';
    this.blocks = ['block', 'coalesce', 'spill'].includes(this.overflow);
    const kept = overflow === 'drop-newest' ? new KeptChunks<T>() : this.#spilled;
    this.#before = new BeforeCursor(kept, options);
    this.room = new ReaderRoom(log, bounds, this.#before.kept);
    this.#isPlain = false;
    this.#refresh();
  }

  /** The position of the next entry in the log. */
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
    // What was written before an end or a failure is still delivered; a cancel discards it.
    if (end === undefined || end.state === 'cancelled') return end;
    return this.#hasItems() ? undefined : end;
  }

  /** Short, so that it can be inlined. */
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

  /** Whether something can be taken. What is there then was there before it was asked for. */
  #hasNextNow(): boolean {
    const hasNext = this.#hasNext();
    if (hasNext) this.#waitedTo = this.#log.head;
    return hasNext;
  }

  /** Whether nothing will come any more. Then the channel need not look after this reader any longer. */
  #isAtEnd(): boolean {
    if (this.end === undefined) return false;
    this.#leave();
    return true;
  }

  #wait(): void {
    if (this.#waiter.isWaiting) return;
    void this.#spilled?.fetch();
    this.#host.waits();
    this.#credit.listen(() => {
      // What is there then waited, if only for credit.
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

  /** The largest chunk that is within all of its bounds. */
  get maxChunkBytes(): number {
    return Math.min(this.bounds.maxBytes, this.#credit.maxBytes);
  }

  /** The part of the bound at which something happens next. */
  get mark(): number {
    const full = this.#spilled?.isAppending === false ? spillMark : 1;
    return Math.min(full, this.#pressure.next);
  }

  /** Whether a chunk of that size fits now. */
  hasRoom(bytes: number, ms: number): boolean {
    return this.room.fits(this.#next, bytes, ms);
  }

  /** What it noted may not be so any more. */
  look(): void {
    this.#plainTo = 0;
  }

  /** Something was written that may have been one too many for a mark. */
  checkMarks(): void {
    if (this.#spilled !== undefined && this.room.isBeyond(this.#next, spillMark)) this.spill();
    if (!this.#pressure.pass(this.room, this.#next)) return;
    this.#refresh();
    this.#host.forgetRoom();
    this.#call(() => this.#pressure.tell());
  }

  /** Appends what waits in the log to the store, if this reader has one and it is free. */
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

  /** The chunk that was just written is not for this reader, which is at the head but for it. */
  skipped(offset: number): void {
    // Whoever was told of another reader's loss may have ended this one, or moved it.
    if (this.#isOver() || this.#log.offsetAt(this.#next) !== offset) return;
    this.#next += 1;
    this.#lose(this.#next - 1);
  }

  /** Entries before or behind the cursor were merged: this is where the cursor is now. */
  compacted(position: number): void {
    this.look();
    this.#next = position;
    this.#waitedTo = Math.min(this.#waitedTo, this.#log.head);
  }

  /** Something was written, or the channel ended. */
  wake(): void {
    if (!this.#waiter.isWaiting) return;
    const hasNext = this.#hasNext();
    if (!hasNext && this.end === undefined) {
      // Credit may have come for what is in the store.
      void this.#spilled?.fetch();
      this.#tellBlocked();
      return;
    }
    this.#host.wasWoken();
    this.#credit.unlisten();
    this.#call(() => this.#waiter.end(hasNext));
  }

  /** The channel has ended. */
  ended(): void {
    if (this.#isOver()) this.#before.clear();
    else void this.#spilled?.seal();
    this.#refresh();
    this.wake();
  }

  /** Takes the next entry, and notes how far the next ones can be taken without looking. */
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
    // Whoever was told of what that made room for may have ended this reader.
    if (!this.#isPlain) return chunk;
    if (this.#next === log.head || log.hasMerged || !this.#host.keepsNothing) return chunk;
    const aloneTo = this.#host.aloneTo(this.#next);
    this.#isAlone = aloneTo > 0;
    // With others at the tail, each of them has to tell when it leaves it: the last one frees what all have taken.
    if (!this.#isAlone && this.#next === log.tail) return chunk;
    this.#plainTo = Math.min(this.#isAlone ? aloneTo : Infinity, this.room.awaitedAt(this.#next, this.#host));
    return chunk;
  }

  /** Takes with all that can be in the way. */
  #takeOtherwise(): T | Gap | undefined {
    if (!this.#hasNext()) {
      if (!this.#isAtEnd()) void this.#spilled?.fetch();
      return undefined;
    }
    const item = this.#before.isEmpty ? this.#takeMerged(this.#log.at(this.#next)) : this.#takeBefore();
    if (this.#pressure.isHigh) this.checkMarks();
    return item;
  }

  /** Everything that waits, in one step. */
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

  /** Takes the next chunk with what waited behind it, as far as that can be merged, and spends credit. */
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
      if (!this.#credit.covers(merged.bytes, merged.ms)) break;
      this.#next += 1;
      ({ bytes, chunk, ms } = merged);
    }
    this.#takenBytes = bytes;
    this.#credit.spend(bytes, ms);
    this.deliveredItems += 1;
    this.#deliveredMerged += this.#log.offsetAt(this.#next) - offset - 1;
    this.#host.moved(position, this.#next);
    return chunk;
  }

  /** What comes before the cursor: what was kept, then the gap. */
  #takeBefore(): T | Gap | undefined {
    const item = this.#before.shift();
    this.#refresh();
    if (item === undefined || item instanceof Gap) return item;
    this.#credit.spend(item.bytes, item.ms);
    this.deliveredItems += 1;
    this.#deliveredMerged += item.to - item.from - 1;
    return item.chunk;
  }

  /** Keeps what waits outside of the log, so that the cursor can stand at its head. */
  #keepWaiting(): void {
    const position = this.#next;
    if (position === this.#log.head) return;
    this.#before.keep(this.#takeEntries());
    this.#refresh();
    this.#host.moved(position, this.#next);
  }

  /** Takes what waits out of the log, to be kept elsewhere. Whoever calls tells the host. */
  #takeEntries(): Entry<T>[] {
    const entries: Entry<T>[] = [];
    for (; this.#next < this.#log.head; this.#next += 1) entries.push(this.#log.entryAt(this.#next));
    return entries;
  }

  /** Loses by its policy what the condition says. */
  #dropWhile(hasToDrop: () => boolean): void {
    const position = this.#next;
    while (hasToDrop()) this.#next += 1;
    this.#lose(position);
  }

  /** Calls back. A reader whose callback throws has failed; the channel and its other readers go on. */
  #call(callback: () => void): void {
    try {
      callback();
    } catch (reason) {
      this.#finish({ state: 'failed', error: asError(reason) });
    }
  }

  /** Loses by its policy what is between its old cursor and the new one. */
  #lose(position: number): void {
    this.droppedItems += this.#before.lost(this.#log, position, this.#next, this.overflow);
    this.#lost(position);
  }

  /** What was behind its old cursor is lost. Tells of it behind everything else: whoever is told may do anything. */
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

  /** Whether something can be taken: it is here, and credit allows it. */
  #hasNext(): boolean {
    if (this.#isPlain) return this.#next !== this.#log.head;
    if (!this.#hasItems() || !this.#before.isHere) return false;
    const { first } = this.#before;
    if (this.#credit.isUnlimited || first instanceof Gap) return true;
    const bytes = first?.bytes ?? this.#log.bytesAt(this.#next);
    const ms = first?.ms ?? this.#log.msAt(this.#next);
    return this.#credit.allows(bytes, ms);
  }

  /** Behind the start of a wait: whoever is told may grant at once. */
  #tellBlocked(): void {
    if (this.#hasItems() && this.#before.isHere) this.#credit.blocked();
  }

  #refresh(): void {
    this.look();
    this.#isPlain =
      this.#before.isEmpty &&
      !this.#pressure.isHigh &&
      this.overflow !== 'coalesce' &&
      this.#credit.isUnlimited &&
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

  /** Ends the reader, by itself or with the channel. The channel lets go of the reader, and of what waited for it alone. */
  #leave(ownEnd?: ReaderEnd): void {
    if (this.#leftAt !== undefined) return;
    this.#leftAt = this.offset;
    this.#ownEnd = ownEnd;
    this.#before.clear();
    this.#refresh();
    this.#host.left(this);
  }
}
