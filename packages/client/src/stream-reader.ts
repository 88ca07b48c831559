import type { CutReason, SessionStreamState } from '@spillway/core/session';

/** Bytes of a stream. Offsets count the provider's chunks. Chunks that waited in the gateway may be merged. */
export interface StreamChunk {
  /** Tells a chunk from a gap. */
  readonly type: 'chunk';
  /** The offset of the first of the provider's chunks in this one. */
  readonly from: number;
  /** The offset after the last one; the same as `from` for the gateway's own bytes, such as an error. */
  readonly to: number;
  /** The provider's own bytes, or the result of a merge of several chunks. */
  readonly bytes: Uint8Array;
}

/** Stands in the stream where chunks are missing. Only a reader with a lossy overflow policy gets gaps. */
export interface StreamGap {
  /** Tells a gap from a chunk. */
  readonly type: 'gap';
  /** The offset of the first chunk that is missing. */
  readonly from: number;
  /** The offset after the last missing chunk. */
  readonly to: number;
  /** The number of missing bytes. */
  readonly bytes: number;
  /** Why the chunks are missing, in the gateway's words. */
  readonly reason: string;
}

/** The items of a reader, in order. */
export type StreamItem = StreamChunk | StreamGap;

/** The head of an answer. */
export interface StreamHead {
  /** The HTTP status, the provider's or the gateway's. */
  readonly status: number;
  /** The HTTP headers of the answer. */
  readonly headers: Headers;
  /** The stream's URL on the gateway, for more readers; empty if the answer cannot be read again. */
  readonly url: string;
}

/** The chunks that a reader has not consumed yet. */
export interface StreamLag {
  /** The number of chunks; merged ones count as one. */
  readonly items: number;
  /** The bytes of those chunks. */
  readonly bytes: number;
}

/**
 * Events of a reader beside its chunks.
 *
 * - `gap`: chunks are missing; the same gap also comes between the chunks.
 * - `stalled`: nothing comes, because the connection is lost, or because unacknowledged chunks fill the window.
 * - `resumed`: the stall is over.
 * - `lag`: the number of chunks that wait, here and in the gateway, has changed.
 * - `end`: the stream is whole (`state`), or it failed (`error`). Received chunks can still be read.
 */
export type StreamEvent =
  | { readonly type: 'gap'; readonly gap: StreamGap }
  | { readonly type: 'stalled'; readonly reason: 'connection_lost' | 'window_full' }
  | { readonly type: 'resumed' }
  | { readonly type: 'lag'; readonly lag: StreamLag }
  | {
      readonly type: 'end';
      readonly state: SessionStreamState;
      /**
       * `limit`: a limit of the gateway ended the answer, which is `cancelled` and a whole message all the same.
       * `limits_unavailable`: so did the gateway, because its store of limits was away.
       */
      readonly reason?: CutReason;
      readonly error?: undefined;
    }
  | { readonly type: 'end'; readonly state?: undefined; readonly error: unknown };

/**
 * One reader of one stream over a session. The reader survives the loss of its connection: every byte comes once and in
 * order, or the reader fails.
 *
 * To stop reading with `break`, with `return` or by the `signal` of its options does what `leave` says.
 *
 * @example
 * ```ts
 * const reader = client.read(url, { from: 'start', overflow: 'drop-oldest' });
 * for await (const item of reader) {
 *   if (item.type === 'gap') showGap(item.bytes);
 *   else await play(item.bytes);
 *   reader.ack(item.to);
 * }
 * ```
 */
export interface StreamReader extends AsyncIterable<StreamItem, undefined> {
  /**
   * The head of the answer. If the reader fails before the answer, this promise rejects with the reader's error. If the
   * reader leaves before it, with an `AbortError`.
   */
  readonly response: Promise<StreamHead>;
  /** The stream's URL on the gateway; empty before the answer, and if the answer cannot be read again. */
  readonly url: string;
  /** The offset after the last chunk that was received. Another reader of the same `url` would go on there. */
  readonly offset: number;
  /** The chunks that wait for this reader in the gateway, and those received and not consumed. */
  readonly lag: StreamLag;
  /** How many more bytes the gateway may send before the next ack; each chunk counts 256 bytes more. */
  readonly credit: number;
  /**
   * The next chunk or gap. With `autoAck`, a call acknowledges the chunk before.
   *
   * @throws {ClientError} the error of a failed reader, after all earlier items were taken; `read_pending` when an
   *   earlier call still waits.
   */
  next(): Promise<IteratorResult<StreamItem, undefined>>;
  /**
   * Acknowledges all chunks before an offset: they were shown, played or written, and the gateway may send as much
   * again. Not every call sends a frame. An offset inside a chunk does not acknowledge that chunk.
   *
   * @throws {ClientError} `bad_ack` when the offset is beyond the chunks that the consumer has taken.
   */
  ack(offset: number): void;
  /** Stops the model at once, for all readers. Waiting chunks are discarded. */
  cancel(): void;
  /** Detaches the reader; the stream lives, at least for a while. Waiting chunks are discarded. */
  detach(): void;
  /** Adds a listener. Returns a function that removes the listener. */
  onEvent(listener: (event: StreamEvent) => void): () => void;
}
