import { SpillwayError } from '../errors.ts';
import type { Entry } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { Bounds, TakeLimits } from './bounds.ts';
import { spillMark } from './spill-mark.ts';
import type { Spill, SpillOwner, SpillPolicy } from './spill-policy.ts';
import type { Store } from './store.ts';

/**
 * The overflow policy `spill`: unread chunks go to a store and come back from there, in order. A reader that lags loses
 * nothing and does not slow the source or other readers.
 *
 * When more than half of the reader's bound waits, all waiting chunks are appended to the store in one step. The other
 * half fills up meanwhile, so memory stays within the bound. The source waits only for a store that takes longer to
 * append than the source to fill the other half. Chunks read back take up to a quarter of the bound in addition. A
 * store that rejects fails this reader, with `store_failed`.
 *
 * One store serves one reader. The store is trimmed as the reader takes, sealed when the channel ends, and emptied when
 * the reader has ended.
 *
 * A function, not a name like the other policies: programs that do not spill then do not load this file.
 *
 * @example
 * ```ts
 * const audit = channel.reader({ overflow: spillTo(store), maxBytes: 65_536 });
 * for await (const record of audit) await write(record);
 * ```
 */
export function spillTo<T>(store: Store<T>): SpillPolicy<T> {
  return { store, open: (owner, bounds) => new SpilledChunks(store, owner, bounds) };
}

/**
 * The items that a reader that spills takes before the entry at its cursor in the chunk log:
 *
 *     oldest                                            newest
 *     read back   ◀──   in the store   ◀──   under way   ◀──   log
 *
 * Chunks under way stay in memory until the store has them. They are taken from memory if nothing older is stored.
 * Chunks read back stay in the store until all of them were taken.
 */
class SpilledChunks<T> implements Spill<T> {
  readonly #store: Store<T>;
  readonly #owner: SpillOwner;
  readonly #readLimits: TakeLimits;
  readonly #readBack = new KeptChunks<T>();
  readonly #underWay = new KeptChunks<T>();
  /** The entries in the store that were not taken. */
  storedItems = 0;
  storedChunks = 0;
  storedBytes = 0;
  /** Whether an append is under way. Only one may be. */
  isAppending = false;
  /** [storedFrom, storedTo): the offsets in the store that were not read back. */
  #storedFrom = 0;
  #storedTo = 0;
  /** When the oldest chunk in [storedFrom, storedTo) was written, or a little earlier. */
  #storedTime = 0;
  #isReading = false;
  /** The number of calls of `discard`. A read that began before the last one is not wanted any more. */
  #discards = 0;
  #shouldSeal = false;
  #isReleased = false;

  constructor(store: Store<T>, owner: SpillOwner, { maxBytes, maxItems }: Bounds) {
    this.#store = store;
    this.#owner = owner;
    const part = spillMark / 2;
    this.#readLimits = { maxBytes: maxBytes * part, maxItems: Math.max(1, Math.floor(maxItems * part)) };
  }

  /** The next item, or `undefined` when it has to be fetched first. */
  get first(): Entry<T> | Gap | undefined {
    return this.#next.first;
  }

  get isEmpty(): boolean {
    return this.storedItems === 0 && this.#underWay.isEmpty;
  }

  /** The offset of the next item. */
  get offset(): number | undefined {
    return this.#next.offset ?? (this.storedItems === 0 ? undefined : this.#storedFrom);
  }

  get oldestTime(): number | undefined {
    return this.#next.oldestTime ?? (this.storedItems === 0 ? undefined : this.#storedTime);
  }

  /** The next chunk under way. Chunks under way count against the reader's bound. */
  get firstEntry(): Entry<T> | undefined {
    return this.#underWay.firstEntry;
  }

  get items(): number {
    return this.#underWay.items;
  }

  get chunks(): number {
    return this.#underWay.chunks;
  }

  get bytes(): number {
    return this.#underWay.bytes;
  }

  get ms(): number {
    return this.#underWay.ms;
  }

  shift(): Entry<T> | Gap | undefined {
    const isStored = this.storedItems > 0;
    const item = this.#next.shift();
    if (!isStored || item === undefined) return item;
    this.storedItems -= 1;
    this.storedChunks -= item.to - item.from;
    this.storedBytes -= item.bytes;
    if (this.#readBack.isEmpty) void this.#try(() => this.#store.trim(this.#storedFrom));
    return item;
  }

  /** Appends entries to the store. Must not be called while an append is under way. */
  async append(entries: readonly Entry<T>[]): Promise<void> {
    for (const entry of entries) this.#underWay.push(entry);
    this.isAppending = true;
    const isKept = await this.#try(() => this.#store.append(entries));
    this.isAppending = false;
    if (this.#isReleased) await this.#release();
    else if (isKept) await this.#appended(entries.at(-1)?.to ?? 0);
  }

  /** Reads chunks back, if the next chunk is in the store only. */
  async fetch(): Promise<void> {
    if (this.#isReading || this.storedItems === 0 || !this.#readBack.isEmpty) return;
    this.#isReading = true;
    const discards = this.#discards;
    const isWanted = (): boolean => !this.#isReleased && this.#discards === discards;
    const isRead = await this.#try(async () => {
      const entries = await this.#store.read(this.#storedFrom, this.#readLimits);
      if (isWanted()) this.#keep(entries);
    }, isWanted);
    this.#isReading = false;
    // After a discard this read brought nothing. Chunks stored since then may need the next read.
    if (!this.#isReleased && (isRead || !isWanted())) this.#owner.spillChanged();
  }

  /** Seals the store, after the append that is under way. */
  async seal(): Promise<void> {
    this.#shouldSeal = true;
    if (!this.isAppending) await this.#try(() => this.#store.seal());
  }

  discard(): (Entry<T> | Gap)[] {
    const items = [...this.#readBack.discard(), ...this.#underWay.discard()];
    this.#discards += 1;
    this.storedItems = 0;
    this.storedChunks = 0;
    this.storedBytes = 0;
    // In a microtask, because a store may fail at once, and that ends the reader. Chunks under way are trimmed when
    // their append has ended.
    const to = this.#storedTo;
    queueMicrotask(() => void this.#try(() => this.#store.trim(to)));
    return items;
  }

  /** Discards everything: the reader has ended. */
  clear(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#readBack.clear();
    this.storedItems = 0;
    this.storedChunks = 0;
    this.storedBytes = 0;
    this.#underWay.clear();
    if (!this.isAppending) void this.#release();
  }

  get #next(): KeptChunks<T> {
    return this.storedItems > 0 ? this.#readBack : this.#underWay;
  }

  async #appended(to: number): Promise<void> {
    const { bytes, chunks, first, items, oldestTime } = this.#underWay;
    // Chunks taken from memory during the append need not be read back, and are trimmed.
    const takenTo = first?.from ?? to;
    const isFirst = this.storedItems === 0;
    if (isFirst) {
      this.#storedFrom = takenTo;
      this.#storedTime = oldestTime ?? 0;
    }
    this.#storedTo = to;
    this.storedItems += items;
    this.storedChunks += chunks;
    this.storedBytes += bytes;
    this.#underWay.clear();
    this.#owner.spillChanged();
    if (isFirst) await this.#try(() => this.#store.trim(takenTo));
    if (this.#shouldSeal) await this.seal();
  }

  #keep(entries: readonly Entry<T>[]): void {
    for (const entry of entries) {
      // A store may already return chunks whose append is under way.
      if (this.#storedFrom === this.#storedTo) break;
      if (entry.from !== this.#storedFrom) {
        throw new Error(`Expected the chunk at offset ${this.#storedFrom}, got the one at ${entry.from}.`);
      }
      this.#readBack.push(entry);
      this.#storedFrom = entry.to;
      this.#storedTime = entry.time;
    }
    if (this.#readBack.isEmpty)
      throw new Error(`Expected the chunk at offset ${this.#storedFrom}, got none.`);
  }

  /** Empties and seals the store. A failure is not reported, because the reader is gone. */
  async #release(): Promise<void> {
    await this.#try(() => this.#store.trim(Number.MAX_SAFE_INTEGER));
    await this.#try(() => this.#store.seal());
  }

  /** Returns whether the operation worked. The owner is told of a failure while `isWanted` holds. */
  async #try(operation: () => Promise<void>, isWanted = () => !this.#isReleased): Promise<boolean> {
    try {
      await operation();
      return true;
    } catch (cause) {
      if (isWanted()) {
        const text = cause instanceof Error ? cause.message : String(cause);
        this.#owner.spillFailed(
          new SpillwayError('store_failed', `The store of a reader failed: ${text}`, { cause }),
        );
      }
      return false;
    }
  }
}
