import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { GatewayError } from '../errors.ts';
import type { StreamLog } from './stream-log.ts';

/** How a stream ended. */
export type StreamState = 'cancelled' | 'completed' | 'failed';

/** How a stream ended, and why, unless it is complete. */
export interface StreamOutcome {
  readonly state: StreamState;
  readonly error: GatewayError | undefined;
}

/** The bounds of each stream. Times are in milliseconds. */
export interface StreamDeadlines {
  /** How long a model goes on for a reader that may come back. */
  readonly detachGraceMs: number;
  /** How many events, and how long, a model may go on that nobody reads, with `finish`. */
  readonly finishEvents: number;
  readonly finishMs: number;
  /** The longest silence of a model that has answered. */
  readonly idleTimeoutMs: number;
  /** After so much silence a reader gets a comment. */
  readonly keepAliveMs: number;
  /** The longest life of a stream. */
  readonly maxDurationMs: number;
  /** What a reader has to take, on the average of a minute; 0: anything. */
  readonly minBytesPerSecond: number;
  /** How long a reader may hold back its credit. */
  readonly pauseMs: number;
  /** How long a reader that something waits for may take nothing. */
  readonly stallTimeoutMs: number;
  /** How long a stream may wait for its place. */
  readonly waitTimeoutMs: number;
  /** What may wait for a reader that has no bound of its own. */
  readonly windowBytes: number;
}

/** What a provider answered, from when its headers have come. */
export interface StreamBody {
  readonly log: StreamLog;
  /** Of events; `undefined`: just bytes. */
  readonly format: Format | undefined;
  readonly isEvents: boolean;
  readonly status: number;
  /** The provider's words behind the status. */
  readonly reason: string;
  /** For readers. */
  readonly headers: Readonly<Record<string, string>>;
  /** How long a chunk takes to play, in milliseconds: what its log has as `durationMs`. Default: chunks take no time. */
  readonly durationMs?: (run: EventRun) => number;
  /** The log's bound on what waits for a reader. */
  readonly maxWaitingBytes: number;
}
