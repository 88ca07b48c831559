import { SpillwayError } from '../errors.ts';
import { ChunkLog } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import {
  type Bounds,
  ChannelReader,
  type Reader,
  type ReaderEnd,
  type ReaderHost,
  type ReaderOptions,
} from './reader.ts';

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
   * The bytes of a chunk: a finite number, 0 or more; called once per chunk. Needed with `maxBytes`.
   * Default: every chunk weighs 0 bytes.
   */
  readonly weigh?: (chunk: T) => number;
}

/**
 * The answer to an offer. `accepted`: every reader will get the chunk, or was told that it will not.
 * `full`: a reader whose policy is `block` has no room; the chunk was not taken. `closed`: the
 * channel has ended; the chunk was not taken and none will be.
 */
export type OfferResult = 'accepted' | 'closed' | 'full';

/** How a channel ended: in exactly one of these states. */
export type ChannelEnd = Exclude<ReaderEnd, { readonly state: 'detached' }>;

/**
 * A bounded, ordered run of chunks: one source writes to its head, any number of readers read, each
 * at its own pace, from one copy.
 */
export interface Channel<T> {
  /** How it ended, or `undefined` while it is open. */
  readonly end: ChannelEnd | undefined;
  /** The offset that the next chunk will have: the number of chunks written so far. */
  readonly head: number;
  /** The bytes that the channel keeps, because a reader has not taken them or none came yet. */
  readonly waitingBytes: number;
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
  /** Adds a reader that never loses a chunk, unless it fails. */
  reader(options?: ReaderOptions & { readonly overflow?: 'block' | 'error' }): Reader<T>;
  /** Adds a reader; with a policy that can lose chunks it also receives {@link Gap}s. */
  reader(options: ReaderOptions): Reader<T | Gap>;
}

/**
 * Opens a channel.
 *
 * Chunks that no reader has taken wait in it, also before the first reader comes and after the last
 * one has left; the bound then is the channel's own, and an offer beyond it is `full`.
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
  const { maxBytes, maxItems, weigh } = options;
  if (maxBytes === undefined && maxItems === undefined) {
    throw new SpillwayError(
      'invalid_option',
      'A channel needs a bound: expected maxBytes, maxItems or both, got neither.',
    );
  }
  if (maxBytes !== undefined && weigh === undefined) {
    throw new SpillwayError(
      'invalid_option',
      'maxBytes needs weigh, the function that says how many bytes a chunk has.',
    );
  }
  return new BoundedChannel(checkedBounds(options, unbounded), weigh);
}

const unbounded: Bounds = { maxBytes: Number.POSITIVE_INFINITY, maxItems: Number.POSITIVE_INFINITY };

function checkedBounds(given: Partial<Bounds>, inherited: Bounds): Bounds {
  const { maxBytes = inherited.maxBytes, maxItems = inherited.maxItems } = given;
  for (const [name, value] of Object.entries({ maxBytes, maxItems })) {
    if (!(value >= 1)) {
      throw new SpillwayError('invalid_option', `${name}: expected 1 or more, got ${value}.`);
    }
  }
  return { maxBytes, maxItems };
}

interface PendingWrite<T> {
  readonly chunk: T;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class BoundedChannel<T> implements Channel<T>, ReaderHost {
  readonly #bounds: Bounds;
  readonly #weigh: ((chunk: T) => number) | undefined;
  readonly #log = new ChunkLog<T>();
  readonly #readers: ChannelReader<T>[] = [];
  #end: ChannelEnd | undefined;
  #trimmedBytes = 0;
  #pending: PendingWrite<T> | undefined;

  constructor(bounds: Bounds, weigh: ((chunk: T) => number) | undefined) {
    this.#bounds = bounds;
    this.#weigh = weigh;
  }

  get end(): ChannelEnd | undefined {
    return this.#end;
  }

  get head(): number {
    return this.#log.head;
  }

  get waitingBytes(): number {
    return this.#log.appendedBytes - this.#trimmedBytes;
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
    if (this.#end?.state === 'cancelled') this.#trim(this.#log.head);
  }

  reader(options?: ReaderOptions & { readonly overflow?: 'block' | 'error' }): Reader<T>;
  reader(options: ReaderOptions): Reader<T | Gap>;
  reader(options: ReaderOptions = {}): Reader<T | Gap> {
    const { overflow = 'block', from = 'start' } = options;
    if (overflow !== 'block' && overflow !== 'drop-oldest' && overflow !== 'error') {
      throw new SpillwayError(
        'invalid_option',
        `overflow: expected block, drop-oldest or error, got ${String(overflow)}.`,
      );
    }
    const start =
      from === 'start'
        ? { offset: this.#log.tail, passedBytes: this.#trimmedBytes }
        : { offset: this.#log.head, passedBytes: this.#log.appendedBytes };
    const bounds = checkedBounds(options, this.#bounds);
    const reader = new ChannelReader<T>(this.#log, this, overflow, bounds, start);
    this.#readers.push(reader);
    return reader;
  }

  moved(offset: number): void {
    if (offset === this.#log.tail) this.#trim(this.#slowest());
    if (this.#pending !== undefined) this.#retryPending();
  }

  left(reader: ChannelReader<unknown>): void {
    const index = this.#readers.indexOf(reader as ChannelReader<T>);
    if (index !== -1) this.#readers.splice(index, 1);
    // With no reader left, what waits is kept for the next one.
    if (this.#readers.length > 0) this.#trim(this.#slowest());
    if (this.#pending !== undefined) this.#retryPending();
  }

  #weighed(chunk: T): number {
    if (this.#weigh === undefined) return 0;
    const bytes = this.#weigh(chunk);
    if (!(bytes >= 0 && bytes < Number.POSITIVE_INFINITY)) {
      throw new SpillwayError('invalid_option', `weigh: expected 0 or more bytes, got ${bytes}.`);
    }
    return bytes;
  }

  #offerWeighed(chunk: T, bytes: number): OfferResult {
    if (!this.#admits(bytes)) return 'full';
    // Backwards, because a reader that fails for want of room leaves the list.
    for (let index = this.#readers.length - 1; index >= 0; index -= 1) {
      const reader = this.#readers[index];
      if (reader?.hasRoom(bytes) === false) reader.makeRoom(bytes);
    }
    this.#log.append(chunk, bytes);
    for (const reader of this.#readers) reader.wake();
    return 'accepted';
  }

  /** Whether nobody who must not lose anything would have to. */
  #admits(bytes: number): boolean {
    if (this.#readers.length === 0) {
      const items = this.#log.head - this.#log.tail;
      return (
        items === 0 || (items < this.#bounds.maxItems && this.waitingBytes + bytes <= this.#bounds.maxBytes)
      );
    }
    for (const reader of this.#readers) {
      if (reader.overflow === 'block' && !reader.hasRoom(bytes)) return false;
    }
    return true;
  }

  #retryPending(): void {
    const pending = this.#pending;
    if (pending === undefined || !this.#isHalfFree() || !this.#admits(pending.bytes)) return;
    // Settled first: making room for it moves cursors, which would come back here.
    pending.resolve();
    this.#offerWeighed(pending.chunk, pending.bytes);
  }

  #isHalfFree(): boolean {
    for (const { overflow, bounds, waitingBytes, waitingItems } of this.#readers) {
      if (overflow !== 'block' || waitingItems === 0) continue;
      if (waitingItems > bounds.maxItems / 2 || waitingBytes > bounds.maxBytes / 2) return false;
    }
    return true;
  }

  #finish(end: ChannelEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#pending?.reject(closedError(end));
    for (const reader of this.#readers) reader.wake();
  }

  #slowest(): number {
    let slowest = this.#log.head;
    for (const reader of this.#readers) slowest = Math.min(slowest, reader.offset);
    return slowest;
  }

  #trim(offset: number): void {
    for (let gone = this.#log.tail; gone < offset; gone += 1) {
      this.#trimmedBytes += this.#log.bytesAt(gone);
    }
    this.#log.trim(offset);
  }
}

function closedError(end: ChannelEnd): Error {
  if (end.state === 'cancelled') return end.error;
  return new SpillwayError('channel_closed', `The channel has ended (${end.state}): nothing can be written.`);
}
