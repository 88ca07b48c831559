import type { SessionStreamState } from '@spillway/core/session';

/** Bytes of a stream. Offsets count the provider's chunks; what waited in the gateway was merged. */
export interface StreamChunk {
  /** Tells it from a gap. */
  readonly type: 'chunk';
  /** The offset of the first chunk that it stands for. */
  readonly from: number;
  /** The offset behind the last one; the same as `from` for what the gateway says by itself, such as an error. */
  readonly to: number;
  /** The provider's own bytes, or what several chunks were merged to. */
  readonly bytes: Uint8Array;
}

/** Stands where chunks are missing. Only a reader with a lossy overflow policy gets one. */
export interface StreamGap {
  /** Tells it from a chunk. */
  readonly type: 'gap';
  /** The offset of the first chunk that is missing. */
  readonly from: number;
  /** The offset behind the last one. */
  readonly to: number;
  /** How many bytes are missing. */
  readonly bytes: number;
  /** Why, in the gateway's words. */
  readonly reason: string;
}

/** What a reader gives, in order. */
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

/** What a reader has not consumed yet. */
export interface StreamLag {
  /** Chunks, merged ones counted once. */
  readonly items: number;
  /** The bytes of those chunks. */
  readonly bytes: number;
}

/**
 * What happens to a reader beside its chunks.
 *
 * - `gap`: chunks are missing; the same comes between the chunks.
 * - `stalled`: nothing comes, because the connection is lost, or because what was not acknowledged fills the window.
 * - `resumed`: that is over.
 * - `lag`: how much waits, here and in the gateway, has changed.
 * - `end`: the stream is whole (`state`), or it failed (`error`). What was received can still be read.
 */
export type StreamEvent =
  | { readonly type: 'gap'; readonly gap: StreamGap }
  | { readonly type: 'stalled'; readonly reason: 'connection_lost' | 'window_full' }
  | { readonly type: 'resumed' }
  | { readonly type: 'lag'; readonly lag: StreamLag }
  | { readonly type: 'end'; readonly state: SessionStreamState; readonly error?: undefined }
  | { readonly type: 'end'; readonly state?: undefined; readonly error: unknown };

/**
 * One reader of one stream over a session. It survives the loss of its connection: every byte comes once and in
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
   * The head of the answer. Rejects with what the reader fails with if that is before the answer, and with an
   * `AbortError` if the reader left before it.
   */
  readonly response: Promise<StreamHead>;
  /** The stream's URL on the gateway; empty before the answer, and if the answer cannot be read again. */
  readonly url: string;
  /** The offset behind the last chunk that was received, with the same `url` where another reader would go on. */
  readonly offset: number;
  /** What waits for it in the gateway, and what it received and has not acknowledged. */
  readonly lag: StreamLag;
  /** How much more the gateway may send before the next ack, in bytes: each chunk counts 256 bytes more. */
  readonly credit: number;
  /**
   * The next chunk or gap. With `autoAck`, to ask for it acknowledges the one before.
   *
   * @throws {ClientError} what the reader fails with, when everything before it was taken; `read_pending` when an
   *   earlier call still waits.
   */
  next(): Promise<IteratorResult<StreamItem, undefined>>;
  /**
   * Acknowledges everything before an offset: it was shown, played or written, and the gateway may send as much
   * again. It is not sent for each call. An offset inside a chunk counts from the next chunk's start.
   *
   * @throws {ClientError} `bad_ack` when the offset is beyond what was handed over.
   */
  ack(offset: number): void;
  /** Stops the model at once, for all readers. What waits is discarded. */
  cancel(): void;
  /** Leaves; the stream lives, at least for a while. What waits is discarded. */
  detach(): void;
  /** Calls back until the function that it returns is called. */
  onEvent(listener: (event: StreamEvent) => void): () => void;
}
