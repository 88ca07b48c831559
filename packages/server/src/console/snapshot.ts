import type { Overflow } from '@spillway/core';
import type { StallCause } from '../stream/meter.ts';
import type { OpenStreams } from '../stream/survey.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { ReaderVia } from '../stream/read-stream.ts';
import type { StreamEvent } from '../stream/journal.ts';

export type { StreamEvent };

/**
 * What the console shows, as it is on the wire: JSON, one object a chunk. Counters only grow, so that whoever missed
 * some snapshots, because its tab slept, still has right rates.
 */

/** How a stream is, or ended. */
export type StreamCondition =
  | 'cancelled'
  | 'completed'
  | 'failed'
  | 'opening'
  | 'paused'
  | 'streaming'
  | 'waiting';

/** The gateway as a whole, at one moment. Its history has one a second. */
export interface Totals {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly streams: OpenStreams;
  readonly readers: number;
  /** Readers for whom more than half of what may wait does. */
  readonly laggingReaders: number;
  /** Of the readers that are furthest behind. */
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  /** Open WebSockets. */
  readonly sessions: number;
  /** What waits for readers, and what channels hold altogether, history included. */
  readonly waitingBytes: number;
  readonly heldBytes: number;
  /** What channels may hold altogether. */
  readonly heldLimitBytes: number;
  readonly rssBytes: number;
  /** Of the last second. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number };
  /** Time to first token of the streams that began since the sample before; `null`: there was none. */
  readonly ttftMs: { readonly p50: number; readonly p99: number } | null;

  /* Counters, since the gateway started. */
  readonly tokensGenerated: number;
  readonly tokensDelivered: number;
  readonly tokensAcknowledged: number;
  readonly tokensSaved: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly mergedEvents: number;
  readonly gaps: number;
  readonly stalls: number;
  readonly stallMs: Readonly<Record<StallCause, number>>;
  readonly retries: number;
  readonly ended: Readonly<Record<'cancelled' | 'completed' | 'failed', number>>;
}

/** The overview: once a second, as long as somebody takes it. */
export interface Overview {
  readonly totals: Totals;
  /** Those with the greatest lag first, then the newest; at most 1000, `openStreams` says how many there are. */
  readonly streams: readonly StreamRow[];
  readonly openStreams: number;
}

export interface StreamRow {
  readonly id: string;
  readonly provider: string;
  readonly api: string;
  /** As the client wrote it, at most 128 characters; empty if it named none. */
  readonly model: string;
  readonly client: StreamClient;
  readonly condition: StreamCondition;
  /** The gateway's code of what ended it; `null`: nothing did, or it was whole. */
  readonly code: string | null;
  /** From the request to now, or to the end. */
  readonly ageMs: number;
  /** `null` before the first token. */
  readonly ttftMs: number | null;
  readonly tokens: number;
  readonly bytes: number;
  /** What its channel holds, history included, and may hold. */
  readonly heldBytes: number;
  readonly windowBytes: number;
  readonly stalls: number;
  readonly stallMs: number;
  /** Why its provider waits now; `null`: it does not. */
  readonly stallCause: StallCause | null;
  readonly readers: readonly ReaderRow[];
}

export interface ReaderRow {
  /** 1 for the one that opened the stream. */
  readonly number: number;
  readonly via: ReaderVia;
  readonly address: string;
  readonly policy: Overflow;
  /** Its connection is lost, and it may come back. */
  readonly isLost: boolean;
  /** Its program holds back its credit; it is let go only after `pauseMs`. */
  readonly isPaused: boolean;
  /** What keeps it from getting more now; `null`: nothing. */
  readonly waitsFor: StallCause | null;
  readonly lagBytes: number;
  readonly lagItems: number;
  /** The age of the oldest chunk that it has not got. */
  readonly lagMs: number;
  /** The bound on `lagBytes`. */
  readonly maxLagBytes: number;
  /** What may be sent to it now, in bytes; `null`: whatever its connection takes. */
  readonly creditBytes: number | null;
  readonly maxCreditBytes: number | null;
  readonly tokens: number;
  /** `null`: it does not acknowledge. */
  readonly acknowledgedTokens: number | null;
  readonly mergedEvents: number;
  readonly gaps: number;
  readonly lostTokens: number;
}

/** One stream's own page: four times a second, as long as somebody takes it. */
export interface StreamDetail {
  readonly atMs: number;
  readonly stream: StreamRow;
  /** The latest 200, oldest first. */
  readonly events: readonly StreamEvent[];
}

/** What a page is told when it starts: `GET /about`. */
export interface About {
  readonly version: string;
  readonly startedAtMs: number;
  /** Without a trailing slash. */
  readonly gatewayUrl: string;
  /** Only with simulated models there is a playground. */
  readonly isSimulated: boolean;
  /** Whether it has to send one of the gateway's keys. */
  readonly needsKey: boolean;
}
