import { SpillwayError } from '../errors.ts';
import type { Entry } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { Bounds, TakeLimits } from './bounds.ts';
import { spillMark } from './spill-mark.ts';
import type { Spill, SpillOwner, SpillPolicy } from './spill-policy.ts';
import type { Store } from './store.ts';

/**
 * The overflow policy `spill`: what the reader has not read goes to a store and comes back from there, in
 * order and without loss, so that a reader that lags neither loses anything nor slows anybody.
 *
 * When more than half of the reader's bound waits, all of it is appended to the store in one step, while
 * the other half fills up: memory stays within the bound. The source waits only for a store that takes
 * longer to append than the source to fill the other half. What is read back is a quarter of the bound
 * at most, and comes on top. A store that rejects fails this reader, with `store_failed`.
 *
 * One store serves one reader. It is trimmed as the reader takes, sealed when the channel ends, and
 * trimmed to nothing when the reader has ended.
 *
 * A function and no name like the others, so that whoever does not spill does not load what spills.
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
 * What a reader that spills takes before it comes to its cursor in the log:
 *
 *     oldest                                            newest
 *     read back   ◀──   in the store   ◀──   under way   ◀──   log
 *
 * Chunks under way are in memory until the store has them, and are taken from there if nothing older is
 * stored. Those read back stay in the store until all of them were taken.
 */
class SpilledChunks<T> implements Spill<T> {
  readonly #store: Store<T>;
  readonly #owner: SpillOwner;
  readonly #readLimits: TakeLimits;
  readonly #readBack = new KeptChunks<T>();
  readonly #underWay = new KeptChunks<T>();
  /** What is in the store and was not taken. */
  storedItems = 0;
  storedChunks = 0;
  storedBytes = 0;
  /** Chunks are appended now: no others can be. */
  isAppending = false;
  /** The offsets in the store that were not read back. */
  #storedFrom = 0;
  #storedTo = 0;
  /** When the oldest of these was written, or a little earlier. */
  #storedTime = 0;
  #isReading = false;
  /** How often everything was let go of. */
  #discards = 0;
  #shouldSeal = false;
  #isReleased = false;

  constructor(store: Store<T>, owner: SpillOwner, { maxBytes, maxItems }: Bounds) {
    this.#store = store;
    this.#owner = owner;
    const part = spillMark / 2;
    this.#readLimits = { maxBytes: maxBytes * part, maxItems: Math.max(1, Math.floor(maxItems * part)) };
  }

  /** What comes next, or `undefined` when it has to be fetched first. */
  get first(): Entry<T> | Gap | undefined {
    return this.#next.first;
  }

  get isEmpty(): boolean {
    return this.storedItems === 0 && this.#underWay.isEmpty;
  }

  /** The offset of what comes next. */
  get offset(): number | undefined {
    return this.#next.offset ?? (this.storedItems === 0 ? undefined : this.#storedFrom);
  }

  get oldestTime(): number | undefined {
    return this.#next.oldestTime ?? (this.storedItems === 0 ? undefined : this.#storedTime);
  }

  /** The next chunk of what is under way, which counts against the reader's bound. */
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

  /** Appends to the store. Not while it appends. */
  async append(entries: readonly Entry<T>[]): Promise<void> {
    for (const entry of entries) this.#underWay.push(entry);
    this.isAppending = true;
    const isKept = await this.#try(() => this.#store.append(entries));
    this.isAppending = false;
    if (this.#isReleased) await this.#release();
    else if (isKept) await this.#appended(entries.at(-1)?.to ?? 0);
  }

  /** Reads back, if that is what the next chunk waits for. */
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
    // What is stored now may wait for what was read for nothing.
    if (!this.#isReleased && (isRead || !isWanted())) this.#owner.spillChanged();
  }

  /** Nothing more will be appended than what is under way. */
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
    // A store may fail at once, and then ends the reader. What is under way is trimmed when it has arrived.
    const to = this.#storedTo;
    queueMicrotask(() => void this.#try(() => this.#store.trim(to)));
    return items;
  }

  /** The reader wants nothing any more. */
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
    // Those that were taken meanwhile are in the store for nothing.
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
      // A store may already show what is under way.
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

  /** Leaves nothing in the store. Nobody is there any more whom a failure would interest. */
  async #release(): Promise<void> {
    await this.#try(() => this.#store.trim(Number.MAX_SAFE_INTEGER));
    await this.#try(() => this.#store.seal());
  }

  /** Returns whether it worked. If not, the owner knows, unless nobody wants it any more. */
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
