import type { Format, TokenUsage } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { GatewayError } from '../errors.ts';
import type { StreamLog } from './stream-log.ts';

/** How a stream ended. */
export type StreamState = 'cancelled' | 'completed' | 'failed';

/** How a stream ended, and the error, unless it completed. */
export interface StreamOutcome {
  readonly state: StreamState;
  readonly error: GatewayError | undefined;
  /** The tokens that the provider says it used. Default: it said nothing, or nobody looked. */
  readonly usage?: TokenUsage | undefined;
}

/** How a stream ended, and when. */
export interface StreamEnd {
  readonly state: StreamState;
  readonly atMs: number;
  /** The same moment, in milliseconds since 1970. */
  readonly dateMs: number;
  /** The error's code, and its message: the gateway's own, never text of a body. */
  readonly code: string | undefined;
  readonly reason: string | undefined;
}

/** The bounds of each stream. Times are in milliseconds. */
export interface StreamDeadlines {
  /** How long a model goes on for a reader that may come back. */
  readonly detachGraceMs: number;
  /** With `finish`: how many events a model may send, and how long it may go on, when nobody reads it. */
  readonly finishEvents: number;
  readonly finishMs: number;
  /** The longest silence of a model that has answered. */
  readonly idleTimeoutMs: number;
  /** The silence after which a reader gets a comment. */
  readonly keepAliveMs: number;
  /** The longest life of a stream. */
  readonly maxDurationMs: number;
  /** The bytes per second that a reader must take, on the average of a minute; 0: no minimum. */
  readonly minBytesPerSecond: number;
  /** How long a reader may hold back its credit. */
  readonly pauseMs: number;
  /** How long a reader with waiting chunks may take nothing. */
  readonly stallTimeoutMs: number;
  /** How long a stream may wait for its place of maxStreams. */
  readonly waitTimeoutMs: number;
  /** The bytes that may wait for a reader that has no bound of its own. */
  readonly windowBytes: number;
}

/** A provider's answer, known when its headers have come. */
export interface StreamBody {
  readonly log: StreamLog;
  /** The format of its events; `undefined`: the body is plain bytes. */
  readonly format: Format | undefined;
  readonly isEvents: boolean;
  readonly status: number;
  /** The provider's reason phrase, after the status. */
  readonly reason: string;
  /** The headers for readers. */
  readonly headers: Readonly<Record<string, string>>;
  /** The playing time of a chunk, in milliseconds; the log's `durationMs`. Default: chunks take no time. */
  readonly durationMs?: (run: EventRun) => number;
  /** The log's bound on the bytes that wait for a reader. */
  readonly maxWaitingBytes: number;
}
