import { SpillwayError } from '../errors.ts';
import { ChannelReader, type ReaderHost } from './channel-reader.ts';
import { ChunkLog, type MergeEntries } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import { overflows } from './overflow.ts';
import type { Bounds, LosslessReaderOptions, Reader, ReaderEnd, ReaderOptions } from './reader.ts';

/** How a channel is bounded and how its chunks are weighed. At least one bound has to be given. */
export interface ChannelOptions<T> {
  /**
   * The bytes that may wait for one reader. Minimum 1, default no bound. When it is reached, the
   * reader's overflow policy decides. A chunk that is larger than the bound is still taken when
   * nothing else waits.
   */
  readonly maxBytes?: number;
  /** The chunks that may wait for one reader. Minimum 1, default no bound. */
  readonly maxItems?: number;
  /**
   * The bytes of a chunk: a finite number, 0 or more; called once per chunk. Needed with `maxBytes` and
   * `merge`. Default: every chunk weighs 0 bytes.
   */
  readonly weigh?: (chunk: T) => number;
  /**
   * Joins two neighbours into one without loss, or refuses with `undefined`. Must not change them: other
   * readers may have them. Needed for the policy `coalesce`, and called only for chunks that wait for a
   * reader with that policy. Default: nothing is merged.
   */
  readonly merge?: (first: T, second: T) => T | undefined;
  /** Neighbours that weigh more together are not merged. Minimum 1, default 16 KiB (16,384). */
  readonly maxMergedBytes?: number;
  /**
   * What is kept although every reader has passed it, for a reader that comes back. With it, the channel
   * does not wait for a reader when it has none. Default: nothing is kept.
   */
  readonly replay?: ReplayWindow;
  /** Measures how long chunks wait, for `waitingMs`; one look at the clock a chunk. Default: false. */
  readonly measureAge?: boolean;
}

/** Bounds on what is kept for readers that come back; the first that is reached counts. */
export interface ReplayWindow {
  /** Minimum 0, default no bound. */
  readonly maxBytes?: number;
  /** In chunks; merged ones count as one. Minimum 0, default no bound. */
  readonly maxItems?: number;
  /** Milliseconds since a chunk was written. Minimum 0, default no bound. */
  readonly maxMs?: number;
}

/**
 * The answer to an offer. `accepted`: every reader will get the chunk, or was told that it will not.
 * `full`: a reader that must not lose it has no room; the chunk was not taken. `closed`: the channel has
 * ended; the chunk was not taken and none will be.
 */
export type OfferResult = 'accepted' | 'closed' | 'full';

/** How a channel ended: in exactly one of these states. */
export type ChannelEnd = Exclude<ReaderEnd, { readonly state: 'detached' | 'disconnected' }>;

/**
 * A bounded, ordered run of chunks: one source writes to its head, any number of readers read, each
 * at its own pace, from one copy.
 */
export interface Channel<T> {
  /** How it ended, or `undefined` while it is open. */
  readonly end: ChannelEnd | undefined;
  /** The offset that the next chunk will have: the number of chunks written so far. */
  readonly nextOffset: number;
  /** The offset of the oldest chunk that a reader can still get. */
  readonly oldestOffset: number;
  /** The bytes that the channel holds: what readers have not taken, and the replay window. */
  readonly heldBytes: number;
  /** Writes a chunk if there is room, at once. The answer has to be looked at. */
  offer(chunk: T): OfferResult;
  /**
   * Writes a chunk, waiting for room. A wait ends when half of the bound is free again (or as much as
   * the chunk needs), so that a full channel is filled in runs and not in single steps.
   *
   * @throws {SpillwayError} `write_pending` when an earlier write still waits; `channel_closed` when
   *   the channel ended; `channel_cancelled` when it was cancelled.
   * @throws the signal's reason when it is aborted; the chunk was then not written.
   */
  write(chunk: T, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** The source is done and everything is well. Readers get what waits, then the end. */
  complete(): void;
  /** The source is done because of an error. Readers get what waits, then the error. */
  fail(error: Error): void;
  /** Nobody wants the rest: what waits is discarded and every reader ends at once. */
  cancel(reason?: Error): void;
  /**
   * Adds a reader that never loses a chunk, unless it is ended.
   *
   * @throws {SpillwayError} `history_gone` when it asks for an offset that the channel does not have any
   *   more; `invalid_option`.
   */
  reader(options?: LosslessReaderOptions): Reader<T>;
  /** Adds a reader; with a policy that can lose chunks it also receives {@link Gap}s. */
  reader(options: ReaderOptions): Reader<T | Gap>;
}

/**
 * Opens a channel.
 *
 * Chunks that no reader has taken wait in it, also before the first reader comes and, without a replay
 * window, after the last one has left; the bound then is the channel's own, and an offer beyond it is
 * `full`.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const channel = openChannel<string>({ maxItems: 100 });
 * const screen = channel.reader();
 * const meter = channel.reader({ overflow: 'drop-oldest', maxItems: 10 });
 * for (const word of words) await channel.write(word);
 * channel.complete();
 * ```
 */
export function openChannel<T>(options: ChannelOptions<T>): Channel<T> {
  const { maxBytes, maxItems, maxMergedBytes = 16_384, merge, replay, weigh } = options;
  if (maxBytes === undefined && maxItems === undefined) {
    throw invalid('A channel needs a bound: expected maxBytes, maxItems or both, got neither.');
  }
  if ((maxBytes !== undefined || merge !== undefined) && weigh === undefined) {
    throw invalid('maxBytes and merge need weigh, the function that says how many bytes a chunk has.');
  }
  atLeast(1, { maxMergedBytes });
  if (replay !== undefined) atLeast(0, { ...replay });
  return new BoundedChannel({ ...options, maxMergedBytes }, checkedBounds(options, unbounded));
}

const unbounded: Bounds = { maxBytes: Number.POSITIVE_INFINITY, maxItems: Number.POSITIVE_INFINITY };

function checkedBounds(given: Partial<Bounds>, inherited: Bounds): Bounds {
  const { maxBytes = inherited.maxBytes, maxItems = inherited.maxItems } = given;
  atLeast(1, { maxBytes, maxItems });
  return { maxBytes, maxItems };
}

function atLeast(minimum: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!(value >= minimum)) throw invalid(`${name}: expected ${minimum} or more, got ${value}.`);
  }
}

function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}

interface PendingWrite<T> {
  readonly chunk: T;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class BoundedChannel<T> implements Channel<T>, ReaderHost<T> {
  readonly merge: MergeEntries<T> | undefined;
  readonly #bounds: Bounds;
  readonly #replay: ReplayWindow | undefined;
  readonly #weigh: ((chunk: T) => number) | undefined;
  readonly #log: ChunkLog<T>;
  readonly #readers: ChannelReader<T>[] = [];
  readonly #measuresAge: boolean;
  /** How many readers wait in `ready`. */
  waiting = 0;
  // Up to here every reader has room, as it was when last looked at. Readers only move on, so it can only
  // be more; what makes it less forgets it.
  #roomToPosition = 0;
  #roomToBytes = 0;
  #end: ChannelEnd | undefined;
  #pending: PendingWrite<T> | undefined;
  /** Pairs of entries below this position were tried to be merged. */
  #compactedTo = 0;

  constructor(options: ChannelOptions<T> & { readonly maxMergedBytes: number }, bounds: Bounds) {
    const { maxMergedBytes, measureAge = false, merge, replay, weigh } = options;
    this.#bounds = bounds;
    this.#replay = replay;
    this.#weigh = weigh;
    this.#measuresAge = measureAge || replay?.maxMs !== undefined;
    this.#log = new ChunkLog<T>({
      isWeighed: weigh !== undefined,
      canMerge: merge !== undefined,
      clock: this.#measuresAge ? () => performance.now() : undefined,
    });
    this.merge =
      merge &&
      ((first, firstBytes, second, secondBytes) => {
        if (firstBytes + secondBytes > maxMergedBytes) return undefined;
        const chunk = merge(first, second);
        return chunk === undefined ? undefined : { chunk, bytes: this.#weighed(chunk) };
      });
  }

  get end(): ChannelEnd | undefined {
    return this.#end;
  }

  get nextOffset(): number {
    return this.#log.nextOffset;
  }

  get oldestOffset(): number {
    return this.#log.offsetAt(this.#log.tail);
  }

  get heldBytes(): number {
    return this.#log.appendedBytes - this.#log.trimmedBytes;
  }

  offer(chunk: T): OfferResult {
    if (this.#end !== undefined) return 'closed';
    if (this.#pending !== undefined) return 'full';
    return this.#offerWeighed(chunk, this.#weighed(chunk));
  }

  write(chunk: T, options?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#end !== undefined) return Promise.reject(closedError(this.#end));
    if (this.#pending !== undefined) {
      return Promise.reject(
        new SpillwayError('write_pending', 'An earlier write still waits for room: await it first.'),
      );
    }
    const bytes = this.#weighed(chunk);
    if (this.#offerWeighed(chunk, bytes) === 'accepted') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#pending = undefined;
        reject(signal?.reason as Error);
      };
      const settled = (): void => {
        this.#pending = undefined;
        signal?.removeEventListener('abort', onAbort);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending = {
        chunk,
        bytes,
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
    });
  }

  complete(): void {
    this.#finish({ state: 'completed' });
  }

  fail(error: Error): void {
    this.#finish({ state: 'failed', error });
  }

  cancel(reason?: Error): void {
    const error =
      reason ?? new SpillwayError('channel_cancelled', 'The channel was cancelled; what waited is gone.');
    this.#finish({ state: 'cancelled', error });
    if (this.#end?.state === 'cancelled') this.#log.trim(this.#log.head);
  }

  reader(options?: LosslessReaderOptions): Reader<T>;
  reader(options: ReaderOptions): Reader<T | Gap>;
  reader(options: ReaderOptions = {}): Reader<T | Gap> {
    const { credit = [], from = 'start', onGap, overflow = 'block' } = options;
    if (!overflows.includes(overflow)) {
      throw invalid(`overflow: expected one of ${overflows.join(', ')}, got ${overflow}.`);
    }
    if (overflow === 'coalesce' && this.merge === undefined) {
      throw invalid('The policy coalesce needs a channel with merge.');
    }
    const bounds = checkedBounds(options, this.#bounds);
    const reader = new ChannelReader<T>(
      this.#log,
      this,
      { overflow, bounds, credit, onGap },
      this.#startOf(from),
    );
    this.#readers.push(reader);
    this.#forgetRoom();
    return reader;
  }

  moved(from: number, to: number): void {
    // Only the slowest reader's step can free anything; with a replay window that is not at the tail.
    if (this.#replay !== undefined) this.#trim();
    else if (from === this.#log.tail) {
      if (this.#readers.length === 1) this.#log.trim(to);
      else this.#trim();
    }
    if (this.#pending !== undefined) this.#retryPending();
  }

  left(reader: ChannelReader<T>): void {
    const index = this.#readers.indexOf(reader);
    if (index !== -1) this.#readers.splice(index, 1);
    if (this.#readers.length === 0) this.#forgetRoom();
    this.#trim();
    if (this.#pending !== undefined) this.#retryPending();
  }

  now(): number {
    return this.#measuresAge ? performance.now() : Number.NaN;
  }

  #weighed(chunk: T): number {
    if (this.#weigh === undefined) return 0;
    const bytes = this.#weigh(chunk);
    if (!(bytes >= 0 && bytes < Number.POSITIVE_INFINITY)) {
      throw invalid(`weigh: expected 0 or more bytes, got ${bytes}.`);
    }
    return bytes;
  }

  #startOf(from: number | 'now' | 'start'): { position: number; passedBytes: number } {
    const log = this.#log;
    if (from === 'now') return { position: log.head, passedBytes: log.appendedBytes };
    let passedBytes = log.trimmedBytes;
    if (from === 'start') return { position: log.tail, passedBytes };
    if (!Number.isInteger(from) || from < 0 || from > log.nextOffset) {
      throw invalid(`from: expected an offset from 0 to ${log.nextOffset}, start or now, got ${from}.`);
    }
    const position = log.positionOf(from);
    if (position === undefined) {
      throw new SpillwayError(
        'history_gone',
        `Offset ${from} is gone, or part of a merged chunk; the oldest chunk that is kept is ${this.oldestOffset}.`,
      );
    }
    for (let passed = log.tail; passed < position; passed += 1) passedBytes += log.bytesAt(passed);
    return { position, passedBytes };
  }

  #offerWeighed(chunk: T, bytes: number): OfferResult {
    const log = this.#log;
    if (log.head < this.#roomToPosition && log.appendedBytes + bytes <= this.#roomToBytes) {
      log.append(chunk, bytes);
    } else {
      if (!this.#admits(bytes)) return 'full';
      const skippers = this.#makeRoom(bytes);
      log.append(chunk, bytes);
      for (const reader of skippers) reader.skipped(log.nextOffset - 1, bytes);
      this.#measureRoom();
    }
    if (this.#replay !== undefined) this.#trim();
    if (this.waiting > 0) this.#wake();
    return 'accepted';
  }

  /** Notes how far the head may go before anybody's bound has to be looked at again. */
  #measureRoom(): void {
    // Without readers there is no bound to note: every offer has to be looked at.
    let position = this.#readers.length === 0 ? 0 : Number.POSITIVE_INFINITY;
    let bytes = position;
    for (const reader of this.#readers) {
      position = Math.min(position, reader.roomToPosition);
      bytes = Math.min(bytes, reader.roomToBytes);
    }
    this.#roomToPosition = position;
    this.#roomToBytes = bytes;
  }

  #forgetRoom(): void {
    this.#roomToPosition = 0;
    this.#roomToBytes = 0;
  }

  #wake(): void {
    for (const reader of this.#readers) reader.wake();
  }

  /** Carries out the policies of all readers that are full. Returns those that skip the chunk. */
  #makeRoom(bytes: number): ChannelReader<T>[] {
    const skippers: ChannelReader<T>[] = [];
    // Backwards, because a reader that is ended for want of room leaves the list.
    for (let index = this.#readers.length - 1; index >= 0; index -= 1) {
      const reader = this.#readers[index];
      if (reader?.hasRoom(bytes) === false && reader.makeRoom(bytes)) skippers.push(reader);
    }
    return skippers;
  }

  /** Whether nobody who must not lose anything would have to. */
  #admits(bytes: number): boolean {
    if (this.#readers.length === 0) {
      if (this.#replay !== undefined) return true;
      const items = this.#log.head - this.#log.tail;
      return (
        items === 0 || (items < this.#bounds.maxItems && this.heldBytes + bytes <= this.#bounds.maxBytes)
      );
    }
    for (const reader of this.#readers) {
      if (!reader.blocks || reader.hasRoom(bytes)) continue;
      if (reader.overflow === 'block') return false;
      this.#compact();
      if (!reader.hasRoom(bytes)) return false;
    }
    return true;
  }

  /**
   * Merges what waits for nobody but readers that allow it. What was tried before is not tried again, so
   * that a channel that stays full costs one attempt a chunk.
   */
  #compact(): void {
    const { merge } = this;
    if (merge === undefined) return;
    let slowest = this.#log.head;
    let end = this.#log.head;
    for (const reader of this.#readers) {
      slowest = Math.min(slowest, reader.position);
      if (reader.overflow !== 'coalesce') end = Math.min(end, reader.position);
    }
    const start = Math.max(slowest, Math.min(this.#compactedTo, this.#log.head) - 1);
    if (start >= end - 1) return;
    const ahead = this.#readers
      .filter(({ position }) => position >= start)
      .toSorted((a, b) => a.position - b.position);
    const borders = ahead.map(({ position }) => position);
    let next = 0;
    const moves: {
      readonly reader: ChannelReader<T> | undefined;
      readonly position: number;
      readonly saved: number;
    }[] = [];
    this.#log.compact(start, end, merge, borders, (position, saved) => {
      moves.push({ reader: ahead[next], position, saved });
      next += 1;
    });
    for (const { position, reader, saved } of moves) reader?.compacted(position, saved);
    this.#compactedTo = this.#log.head;
    this.#forgetRoom();
  }

  #retryPending(): void {
    const pending = this.#pending;
    if (pending === undefined || !this.#isHalfFree() || !this.#admits(pending.bytes)) return;
    // Settled first: making room for it moves cursors, which would come back here.
    pending.resolve();
    this.#offerWeighed(pending.chunk, pending.bytes);
  }

  #isHalfFree(): boolean {
    for (const { blocks, bounds, waitingBytes, waitingItems } of this.#readers) {
      if (!blocks || waitingItems === 0) continue;
      if (waitingItems > bounds.maxItems / 2 || waitingBytes > bounds.maxBytes / 2) return false;
    }
    return true;
  }

  #finish(end: ChannelEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#pending?.reject(closedError(end));
    for (const reader of this.#readers) reader.ended();
  }

  /** Lets go of what every reader has passed, less the replay window. */
  #trim(): void {
    const log = this.#log;
    const replay = this.#replay;
    // Without readers and without a window, what waits is kept for the next reader.
    if (this.#readers.length === 0 && replay === undefined) return;
    let slowest = log.head;
    let passedBytes = log.appendedBytes;
    for (const reader of this.#readers) {
      if (reader.position >= slowest) continue;
      slowest = reader.position;
      passedBytes = reader.passedBytes;
    }
    if (replay === undefined) {
      log.trim(slowest);
      return;
    }
    const { maxBytes = Infinity, maxItems = Infinity, maxMs = Infinity } = replay;
    const oldestMs = maxMs === Infinity ? -Infinity : performance.now() - maxMs;
    while (
      log.tail < slowest &&
      (slowest - log.tail > maxItems ||
        passedBytes - log.trimmedBytes > maxBytes ||
        log.timeAt(log.tail) < oldestMs)
    ) {
      log.trim(log.tail + 1);
    }
  }
}

function closedError(end: ChannelEnd): Error {
  if (end.state === 'cancelled') return end.error;
  return new SpillwayError('channel_closed', `The channel has ended (${end.state}): nothing can be written.`);
}
