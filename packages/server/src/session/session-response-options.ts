import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { ServerClock } from '../time/server-clock.ts';

/** The options of a reader's response over a session. */
export interface SessionResponseOptions {
  readonly clock: ServerClock;
  /** The format in which the client gets errors. */
  readonly format: Format;
  /** Whether an error before the first chunk is an answer as by HTTP: a status and a body. */
  readonly answersErrors: boolean;
  /** Whether to send no error event, because the client would take it for a piece of the answer. Default: `false`. */
  readonly answersOnly?: boolean;
  /** The stream's window: the bytes that may be sent and not acknowledged. */
  readonly windowBytes: number;
  /** The window that the client asked for and counts with, at least `windowBytes`. Default: `windowBytes`. */
  readonly askedWindowBytes?: number;
  /** The playing time, in milliseconds, that may be sent and not acknowledged. Default: only bytes are counted. */
  readonly windowMs?: number | undefined;
  /** The playing time of a chunk, in milliseconds. Default: chunks take no time. */
  readonly durationMs?: (run: EventRun) => number;
  /** The offset where the reader begins. For `now` it is not known yet: leave it out. Default 0. */
  readonly from?: number;
  /** The id of the frame that opened the reader, for the head of the answer. Default: none. */
  readonly requestId?: string;
  /** The id of the request that opened the stream, for errors. Default: none. */
  readonly streamRequestId?: () => string | undefined;
  /** The path at which the stream can be read again. */
  readonly url: () => string;
  /** Called with the tokens that the reader has consumed since it was called last. */
  readonly onAck: (tokens: number) => void;
  /** Called when the reader can no longer be resumed. */
  readonly onClose: () => void;
}
