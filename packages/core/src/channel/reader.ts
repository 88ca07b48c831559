import { SpillwayError } from '../errors.ts';
import type { ChunkLog } from './chunk-log.ts';
import { Gap } from './gap.ts';

/**
 * What happens to a reader that is full:
 *
 * - `block`: the source waits. Nothing is lost, everybody upstream is slowed.
 * - `drop-oldest`: the reader's cursor moves forward; the reader receives a {@link Gap}.
 * - `error`: the reader fails with `reader_overflow`; nobody else notices.
 */
export type Overflow = 'block' | 'drop-oldest' | 'error';

/** Where and how a reader reads. */
export interface ReaderOptions {
  /** What happens when this reader is full. Default: `block`. */
  readonly overflow?: Overflow;
  /**
   * The bytes that may wait for this reader, as the channel's `weigh` counts them. Minimum 1,
   * default the channel's `maxBytes`. A chunk that is larger than the bound is still taken when
   * nothing else waits, or it could never pass.
   */
  readonly maxBytes?: number;
  /** The chunks that may wait for this reader. Minimum 1, default the channel's `maxItems`. */
  readonly maxItems?: number;
  /**
   * `start`: the oldest chunk that the channel still has. `now`: the next chunk that is written.
   * Default: `start`.
   */
  readonly from?: 'now' | 'start';
}

/** A reader's bounds, complete. */
export interface Bounds {
  readonly maxBytes: number;
  readonly maxItems: number;
}

/**
 * How a reader's stream ended: with the channel (`completed`, `failed`, `cancelled`), by its own
 * overflow policy (`failed`), or because it left (`detached`).
 */
export type ReaderEnd =
  | { readonly state: 'cancelled' | 'failed'; readonly error: Error }
  | { readonly state: 'completed' | 'detached' };

/**
 * A cursor on a channel's chunks. It has its own bounds and its own overflow policy; the chunks are
 * shared with all other readers.
 *
 * Read in the way that fits: `for await`; or `take()` for what is there now and `ready()` to wait for
 * more. `Item` is the chunk's type, with {@link Gap} added for a policy that can lose chunks.
 *
 * @example
 * ```ts
 * for await (const chunk of reader) render(chunk);
 *
 * // In batches that grow by themselves when the sink falls behind:
 * while (await reader.ready()) {
 *   let batch = '';
 *   for (let text = reader.take(); text !== undefined; text = reader.take()) batch += text;
 *   await sink.write(batch);
 * }
 * ```
 */
export interface Reader<Item> extends AsyncIterable<Item>, AsyncDisposable {
  /** The offset of the next chunk that this reader will take. */
  readonly offset: number;
  /** The chunks that wait for this reader. */
  readonly waitingItems: number;
  /** The bytes that wait for this reader. */
  readonly waitingBytes: number;
  /** The chunks that this reader took. */
  readonly deliveredItems: number;
  /** The chunks that this reader lost; each one is in a {@link Gap}. */
  readonly droppedItems: number;
  /** How it ended, or `undefined` while it can still receive something. */
  readonly end: ReaderEnd | undefined;
  /** The next item, at once, or `undefined` when nothing waits (which says nothing about the end). */
  take(): Item | undefined;
  /**
   * Waits until something can be taken. Resolves with `true` when it can, with `false` when nothing
   * will come any more: `end` then says why. It never rejects. One wait at a time: a second call
   * while one waits returns the same promise.
   */
  ready(): Promise<boolean>;
  /** Leaves. The stream lives on; a wait in `ready` resolves with `false`. Safe to call twice. */
  detach(): void;
}

/** What a reader needs from its channel. */
export interface ReaderHost {
  readonly end: ReaderEnd | undefined;
  /** The reader's cursor moved away from `offset`: chunks may be let go, a writer may go on. */
  moved(offset: number): void;
  left(reader: ChannelReader<unknown>): void;
}

export class ChannelReader<T> implements Reader<T | Gap> {
  readonly overflow: Overflow;
  readonly bounds: Bounds;
  readonly #log: ChunkLog<T>;
  readonly #host: ReaderHost;
  #next: number;
  /** The bytes of all chunks before `#next`: with the log's total it gives the lag in one step. */
  #passedBytes: number;
  #gap: Gap | undefined;
  #ownEnd: ReaderEnd | undefined;
  #waiter: PromiseWithResolvers<boolean> | undefined;
  deliveredItems = 0;
  droppedItems = 0;

  constructor(
    log: ChunkLog<T>,
    host: ReaderHost,
    overflow: Overflow,
    bounds: Bounds,
    start: { readonly offset: number; readonly passedBytes: number },
  ) {
    this.#log = log;
    this.#host = host;
    this.overflow = overflow;
    this.bounds = bounds;
    this.#next = start.offset;
    this.#passedBytes = start.passedBytes;
  }

  get offset(): number {
    return this.#next;
  }

  get waitingItems(): number {
    return this.#isOver() ? 0 : this.#log.head - this.#next;
  }

  get waitingBytes(): number {
    return this.#isOver() ? 0 : this.#log.appendedBytes - this.#passedBytes;
  }

  get end(): ReaderEnd | undefined {
    if (this.#ownEnd !== undefined) return this.#ownEnd;
    const end = this.#host.end;
    // What was written before an end or a failure is still delivered; a cancel discards it.
    if (end === undefined || end.state === 'cancelled') return end;
    return this.#hasNext() ? undefined : end;
  }

  take(): T | Gap | undefined {
    if (this.#isOver()) return undefined;
    if (this.#gap !== undefined) {
      const gap = this.#gap;
      this.#gap = undefined;
      return gap;
    }
    if (this.#next === this.#log.head) return undefined;
    const offset = this.#next;
    const chunk = this.#log.at(offset);
    this.#passedBytes += this.#log.bytesAt(offset);
    this.#next = offset + 1;
    this.deliveredItems += 1;
    this.#host.moved(offset);
    return chunk;
  }

  ready(): Promise<boolean> {
    if (this.#hasNext()) return Promise.resolve(true);
    if (this.end !== undefined) return Promise.resolve(false);
    this.#waiter ??= Promise.withResolvers<boolean>();
    return this.#waiter.promise;
  }

  detach(): void {
    this.#finish({ state: 'detached' });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T | Gap, void, undefined> {
    try {
      while (await this.ready()) {
        for (let item = this.take(); item !== undefined; item = this.take()) yield item;
      }
      const end = this.end;
      if (end !== undefined && 'error' in end) throw end.error;
    } finally {
      this.detach();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.detach();
    return Promise.resolve();
  }

  /** Whether a chunk of that size fits now. */
  hasRoom(bytes: number): boolean {
    const items = this.#log.head - this.#next;
    if (items === 0) return true;
    return (
      items < this.bounds.maxItems &&
      this.#log.appendedBytes - this.#passedBytes + bytes <= this.bounds.maxBytes
    );
  }

  /** Carries out the overflow policy for a chunk that does not fit. */
  makeRoom(bytes: number): void {
    if (this.overflow === 'error') {
      this.#finish({ state: 'failed', error: this.#overflowError(bytes) });
      return;
    }
    const from = this.#next;
    let droppedBytes = 0;
    while (!this.hasRoom(bytes)) {
      droppedBytes += this.#log.bytesAt(this.#next);
      this.#passedBytes += this.#log.bytesAt(this.#next);
      this.#next += 1;
    }
    this.droppedItems += this.#next - from;
    const before = this.#gap;
    this.#gap = new Gap(before?.from ?? from, this.#next, (before?.bytes ?? 0) + droppedBytes, 'drop-oldest');
    this.#host.moved(from);
  }

  /** Something was written, or the channel ended. */
  wake(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    if (this.#hasNext()) {
      this.#waiter = undefined;
      waiter.resolve(true);
    } else if (this.end !== undefined) {
      this.#waiter = undefined;
      waiter.resolve(false);
    }
  }

  #hasNext(): boolean {
    return !this.#isOver() && (this.#gap !== undefined || this.#next !== this.#log.head);
  }

  #isOver(): boolean {
    return this.#ownEnd !== undefined || this.#host.end?.state === 'cancelled';
  }

  #finish(end: ReaderEnd): void {
    if (this.end !== undefined) return;
    this.#ownEnd = end;
    this.#gap = undefined;
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
