import type { SessionOverflow } from '@spillway/core/session';

/** What all readers can be told. */
export interface ReaderInit {
  /** In addition to those of the client, and in their place. The key is among them. Default: none. */
  readonly headers?: HeadersInit;
  /** The window of this stream, in bytes. Default: that of the client. */
  readonly windowBytes?: number;
  /**
   * The window of this stream in time: how many milliseconds of what the gateway sends may not be acknowledged, beside `windowBytes`. A
   * longer chunk comes when all of the window is free. Only chunks that take time to play count, and only at a gateway that knows this;
   * otherwise `windowBytes` alone holds. A whole number, 1 to 4 294 967 295; default: no window in time.
   */
  readonly windowMs?: number;
  /** To ask for the next chunk acknowledges the one before. Default: only `ack` does. */
  readonly autoAck?: boolean;
  /** An abort leaves as `leave` says, and the reader fails with the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}

/** A `POST` whose answer is read chunk by chunk. Its `content-type` is `application/json` unless `headers` say another. */
export interface StreamRequestInit extends ReaderInit {
  /** Default: empty. */
  readonly body?: string;
  /** What an abort and `break` mean: `cancel` stops the model, `detach` does not. Default: that of the client. */
  readonly leave?: 'cancel' | 'detach';
}

/** One more reader of a stream that runs, or has ended not long ago. */
export interface StreamReadInit extends ReaderInit {
  /** An offset in chunks, the `start` of the stream, or `now`. Default `start`. */
  readonly from?: number | 'now' | 'start';
  /**
   * What happens when more than `maxBytes` wait for it in the gateway. `disconnect`: it fails with
   * `reader_disconnected`; `coalesce`: what waits is merged, and if that is not enough, the model waits; `block`: the
   * model waits; `drop-newest`, `drop-oldest` and `latest`: chunks are left out, and a gap says which. Default
   * `disconnect`.
   */
  readonly overflow?: SessionOverflow;
  /**
   * The bytes that may wait for it in the gateway. 1024 to 1 073 741 824; default: as many as the gateway allows
   * (`windowBytes`), and never more.
   */
  readonly maxBytes?: number;
  /**
   * Whether what waits for it may be merged to make room, before its policy is carried out. Without, a reader gets the
   * provider's own events or a gap. Default true.
   */
  readonly merges?: boolean;
  /** What an abort and `break` mean: `cancel` stops the model for all readers. Default `detach`. */
  readonly leave?: 'cancel' | 'detach';
}
