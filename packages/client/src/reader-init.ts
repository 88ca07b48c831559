import type { SessionOverflow } from '@spillway/core/session';

/** Options that all readers have. */
export interface ReaderInit {
  /** Headers that are added to those of the client, or replace them. The key is among them. Default: none. */
  readonly headers?: HeadersInit;
  /** The window of this stream, in bytes. Default: that of the client. */
  readonly windowBytes?: number;
  /**
   * The window of this stream in time: how many milliseconds of audio the gateway may send before they are
   * acknowledged, beside `windowBytes`. A longer chunk comes when all of the window is free. Only chunks that take time
   * to play count, and only at a gateway that knows this option; otherwise `windowBytes` alone holds. A whole number, 1
   * to 4 294 967 295; default: no window in time.
   */
  readonly windowMs?: number;
  /** Whether asking for the next chunk acknowledges the one before. Default: only `ack` does. */
  readonly autoAck?: boolean;
  /**
   * Stops the reader: an abort leaves as `leave` says, and the reader fails with the signal's reason. Default: none.
   */
  readonly signal?: AbortSignal;
}

/** A `POST` whose answer is read chunk by chunk. Its `content-type` is `application/json` unless `headers` say another. */
export interface StreamRequestInit extends ReaderInit {
  /** The body of the request. Default: empty. */
  readonly body?: string;
  /** The meaning of an abort and `break`: `cancel` stops the model, `detach` does not. Default: that of the client. */
  readonly leave?: 'cancel' | 'detach';
}

/** One more reader of a stream that runs, or that has ended not long ago. */
export interface StreamReadInit extends ReaderInit {
  /** The chunk to start at: an offset in chunks, the `start` of the stream, or `now`. Default `start`. */
  readonly from?: number | 'now' | 'start';
  /**
   * What happens when more than `maxBytes` wait for this reader in the gateway. `disconnect`: the reader fails with
   * `reader_disconnected`; `coalesce`: waiting chunks are merged, and if that is not enough, the model waits; `block`:
   * the model waits; `drop-newest`, `drop-oldest` and `latest`: chunks are left out, and a gap says which. Default
   * `disconnect`.
   */
  readonly overflow?: SessionOverflow;
  /**
   * The bytes that may wait for this reader in the gateway. 1024 to 1 073 741 824; default: as many as the gateway
   * allows (`windowBytes`), and never more.
   */
  readonly maxBytes?: number;
  /**
   * Whether chunks that wait for this reader may be merged to make room, before its policy is carried out. If not, the
   * reader gets the provider's own events or a gap. Default true.
   */
  readonly merges?: boolean;
  /** The meaning of an abort and `break`: `cancel` stops the model for all readers. Default `detach`. */
  readonly leave?: 'cancel' | 'detach';
}
