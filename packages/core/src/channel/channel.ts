import type { Gap } from './gap.ts';
import type { LosslessReaderOptions, Reader, ReaderEnd, ReaderOptions } from './reader.ts';

/**
 * The answer to an offer. `accepted`: every reader gets the chunk, or a gap or an end instead. `full`: a reader that
 * must not lose it has no room; the chunk was not taken. `closed`: the channel has ended; the chunk was not taken and
 * none will be.
 */
export type OfferResult = 'accepted' | 'closed' | 'full';

/** How a channel ended: in exactly one of these states. */
export type ChannelEnd = Exclude<ReaderEnd, { readonly state: 'detached' | 'disconnected' }>;

/**
 * A bounded, ordered run of chunks: one source writes to its head, any number of readers read, each
 * at its own pace, from one copy.
 */
export interface Channel<T> {
  /** How the channel ended, or `undefined` while it is open. */
  readonly end: ChannelEnd | undefined;
  /** The offset that the next chunk will have: the number of chunks written so far. */
  readonly nextOffset: number;
  /** The offset of the oldest chunk that a reader can still get. */
  readonly oldestOffset: number;
  /** The bytes that the channel holds: chunks that readers have not taken, and the replay window. */
  readonly heldBytes: number;
  /** Whether readers lag so much that a new chunk is merged at once into a waiting one, if it can be. */
  readonly isMerging: boolean;
  /**
   * The newest chunks that the channel still has, at most `items` of them, in order.
   *
   * @throws {SpillwayError} `invalid_option` when `items` is no whole number, 0 or more (or `Infinity`).
   */
  newest(items: number): T[];
  /**
   * Writes a chunk at once, if there is room. The caller has to check the answer.
   *
   * @throws {SpillwayError} `invalid_chunk` for `undefined`, with which a reader says that nothing waits;
   *   `invalid_option` when `weigh` or `durationMs` returns something that is no size.
   */
  offer(chunk: T): OfferResult;
  /**
   * Writes a chunk, waiting for room. A wait ends when half of the bound is free again (or as much as the chunk needs).
   * So a full channel is filled in runs, not in single steps.
   *
   * @throws {SpillwayError} `write_pending` when an earlier write still waits; `channel_closed` when the channel ended;
   *   when it was cancelled, the reason, or without one `channel_cancelled`; `invalid_chunk` and `invalid_option` as
   *   with `offer`.
   * @throws the signal's reason when it is aborted; the chunk was then not written.
   */
  write(chunk: T, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Completes the channel: the source has delivered everything. Readers get the waiting chunks, then the end. */
  complete(): void;
  /** Fails the channel: the source has ended with an error. Readers get the waiting chunks, then the error. */
  fail(error: Error): void;
  /**
   * Cuts the channel: the source was ended on purpose before it had delivered everything, and what came is wanted.
   * Readers get the waiting chunks, then the reason. Does nothing when the channel has ended already.
   */
  cut(reason: Error): void;
  /**
   * Cancels the channel, because nobody wants the rest. Waiting chunks are discarded and every reader ends at once,
   * with the reason (without one, an error with the code `channel_cancelled`). Does nothing when the channel has ended
   * already: its waiting chunks then belong to its readers, until they have taken them or are detached.
   */
  cancel(reason?: Error): void;
  /**
   * Adds a reader that never loses a chunk, unless it is ended.
   *
   * @throws {SpillwayError} `history_gone` when `from` is an offset that the channel does not have any more;
   *   `invalid_option`.
   */
  reader(options?: LosslessReaderOptions<T>): Reader<T>;
  /** Adds a reader. With a policy that can lose chunks, the reader also receives {@link Gap}s. */
  reader(options: ReaderOptions<T>): Reader<T | Gap>;
}
