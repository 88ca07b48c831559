import type { Channel } from '@spillway/core';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { Config } from '../config/schema.ts';
import type { GatewayError } from '../errors.ts';

/** How a stream ended. */
export type StreamState = 'cancelled' | 'completed' | 'failed';

/** How a stream ended, and why, unless it is complete. */
export interface StreamOutcome {
  readonly state: StreamState;
  readonly error: GatewayError | undefined;
}

/** What streams need of the configuration. */
export type StreamDeadlines = Pick<
  Config,
  | 'detachGraceMs'
  | 'finishEvents'
  | 'finishMs'
  | 'idleTimeoutMs'
  | 'keepAliveMs'
  | 'maxDurationMs'
  | 'minBytesPerSecond'
  | 'pauseMs'
  | 'stallTimeoutMs'
  | 'waitTimeoutMs'
  | 'windowBytes'
>;

/** What a provider answered, from when its headers have come. */
export interface StreamBody {
  readonly channel: Channel<EventRun>;
  /** Of events; `undefined`: just bytes. */
  readonly format: Format | undefined;
  readonly isEvents: boolean;
  readonly status: number;
  /** The provider's words behind the status. */
  readonly reason: string;
  /** For readers. */
  readonly headers: Readonly<Record<string, string>>;
  /** The channel's bound on what waits for a reader. */
  readonly maxWaitingBytes: number;
}
