import type { Durability, Overflow } from '@spillway/core';
import type { StallCause } from '../stream/meter.ts';
import type { OpenStreams } from '../stream/survey.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { ReaderVia } from '../stream/read-stream.ts';
import type { EndedReader } from '../stream/ended-reader.ts';
import type { StreamEvent } from '../stream/journal.ts';
import type { ProviderRefusal } from '../stream/provider-refusal.ts';
import type { StreamState } from '../stream/stream-body.ts';
import type { AuditHead } from '../audit/audit-chain.ts';
import type { EngineFacts } from '@spillway/core/engine';
import type { TapDeadLetters, TapSpill, TapState } from '../tap/tap-state.ts';

export type { EndedReader, ProviderRefusal, StreamEvent };

/**
 * The data that the console gets: JSON, one object in each chunk. Counters only grow. So rates stay right for a page
 * that missed snapshots because its tab slept.
 */

/** Where an open stream stands, or how one has ended. */
export type StreamCondition = StreamState | keyof OpenStreams;

/** The whole gateway at one moment. The history has one of these for each second. */
export interface Totals {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly streams: OpenStreams;
  readonly readers: number;
  /** Readers for which more than half of their bound waits. */
  readonly laggingReaders: number;
  /** The largest lags of any reader, in bytes and in milliseconds. */
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  /** Open WebSockets. */
  readonly sessions: number;
  /** When an operator began to drain the gateway, in milliseconds since 1970; `null`: it takes new streams. */
  readonly intakeClosedAtMs: number | null;
  /** Whether the last reload of the configuration was refused, so that an older one is in force. */
  readonly hasReloadFailed: boolean;
  /** Whether the store of clients' keys is away, or has keys that cannot be in force. */
  readonly hasKeyStoreFailed: boolean;
  /** The stop that is under way, with its start and deadline in milliseconds since 1970; `null`: there is none. */
  readonly draining: { readonly sinceMs: number; readonly deadlineMs: number } | null;
  /** The level of pressure, 0 to 3; `null`: nothing gives way to it, and it is not measured. */
  readonly pressure: number | null;
  /** The bytes that wait for readers. `heldBytes`: all bytes in channels, with history. */
  readonly waitingBytes: number;
  readonly heldBytes: number;
  /** The bytes that all channels together may hold. */
  readonly heldLimitBytes: number;
  readonly rssBytes: number;
  /** The event loop's delays in the last second. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number };
  /** The times to a first token of streams that began since the last sample; `null`: there were none. */
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
  readonly ended: Readonly<Record<StreamState, number>>;
  /** What clients were refused, by cause: connections without room, and requests whose body found none. */
  readonly refused: Readonly<Record<RefusalCause, number>>;
  /** One for each tap, in the order of {@link Overview.taps}. */
  readonly taps: readonly TapSample[];
}

/** A tap at one moment, for its charts. */
export interface TapSample {
  readonly name: string;
  readonly lagBytes: number;
  readonly lagMs: number;
  /* Counters, since the gateway started. */
  readonly records: number;
  readonly lost: number;
}

/**
 * Why a client was refused before there was a stream. `request_memory`: no room for its body; `wrong_key`: it showed no
 * accepted key; else: its connection.
 */
export type RefusalCause =
  | 'address_bound'
  | 'refused'
  | 'request_memory'
  | 'stranger_displaced'
  | 'transfer_displaced'
  | 'wrong_key';

/** The overview: sent once a second, while a reader can take it. */
export interface Overview {
  readonly totals: Totals;
  /**
   * The open streams, those with the greatest lag first, then the newest. At most 1000; `openStreams` is the number of
   * all, and the sum of `totals.streams`.
   */
  readonly streams: readonly StreamRow[];
  readonly openStreams: number;
  readonly taps: readonly TapRow[];
  /** The latest changes of the level of pressure, oldest first: at most 50. */
  readonly pressureChanges: readonly PressureChange[];
  /** Models of providers that failed too often: those that are not asked first, the next try first of them. At most 20; `allBroken` is the number of all. */
  readonly broken: readonly BrokenModel[];
  readonly allBroken: number;
}

/** A model of a provider that failed too often, and has not been found well since. */
export interface BrokenModel {
  readonly provider: string;
  /** As the provider names it, at most 128 characters; empty: the requests named none. */
  readonly model: string;
  /** In how many milliseconds a request may try it; 0: now. */
  readonly closedMs: number;
}

/** A change of the level of pressure. */
export interface PressureChange {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** 0 to 3. */
  readonly level: number;
  readonly from: number;
  /** What a rise comes from; of a fall, what the level had come from. */
  readonly cause: PressureCause;
  /** What was measured of the cause: of `loop_delay` in milliseconds, of the others a ratio. */
  readonly value: number;
}

/** What pressure comes from. */
export type PressureCause = 'loop_delay' | 'memory' | 'places' | 'provider_latency' | 'provider_places';

/** A tap of the gateway: what it is, and what it has done since the gateway started. */
export interface TapRow extends Omit<
  TapState,
  'deadLetters' | 'durability' | 'facts' | 'groups' | 'head' | 'problem' | 'spill'
> {
  /** Since when it is up or down, as far as samples saw it; in milliseconds since 1970. */
  readonly sinceMs: number;
  /** `null`: what it writes to is no audit log. */
  readonly head: AuditHead | null;
  /** `null`: it does not spill. */
  readonly spill: TapSpill | null;
  /** `null`: its engine was not reached so far. */
  readonly durability: Durability | null;
  /** Why what it writes to takes nothing at the moment; `null`: nothing is wrong. */
  readonly problem: string | null;
  /** `null`: what it writes to is no engine that is a server, or was not reached so far. */
  readonly facts: EngineFacts | null;
  /** `null`: what it writes to refuses no record for ever. */
  readonly deadLetters: TapDeadLetters | null;
  readonly groups: readonly TapGroupRow[];
}

/** How far a group of readers of a tap's engine is behind; `null`: nobody knows. */
export interface TapGroupRow {
  readonly group: string;
  readonly entries: number | null;
  readonly ms: number | null;
  /** Why nothing is known. */
  readonly problem: string | null;
}

export interface StreamRow {
  readonly id: string;
  /** The id of the request that opened the stream, as its client got it; `null`: it has none. */
  readonly requestId: string | null;
  /** The provider's own id of the request; `null`: the provider has not said one. */
  readonly upstreamRequestId: string | null;
  readonly provider: string;
  readonly api: string;
  /** The model as the client wrote it, at most 128 characters; empty without one. */
  readonly model: string;
  readonly client: StreamClient;
  /** What of the request gave way to pressure, such as `max_tokens=1000`. */
  readonly gaveWay: readonly string[];
  readonly condition: StreamCondition;
  /** Which of those that wait for a place it is: 1 gets the next one; `null`: it does not wait. */
  readonly waitPosition: number | null;
  /** Milliseconds since 1970; `null`: the provider is at work. */
  readonly endedAtMs: number | null;
  /** The error that ended the stream, in the gateway's words; `null`: none has. */
  readonly code: string | null;
  readonly reason: string | null;
  /** The time from the request to now, or to the stream's end. */
  readonly ageMs: number;
  /** `null` before the first token. */
  readonly ttftMs: number | null;
  readonly tokens: number;
  readonly bytes: number;
  /** The bytes in the stream's channel, with history. `windowBytes`: the bound for a reader. */
  readonly heldBytes: number;
  readonly windowBytes: number;
  readonly stalls: number;
  readonly stallMs: number;
  /** Why the provider waits now; `null`: it does not wait. */
  readonly stallCause: StallCause | null;
  readonly readers: readonly ReaderRow[];
}

export interface ReaderRow {
  /** The reader that opened the stream has the number 1. */
  readonly number: number;
  readonly via: ReaderVia;
  readonly address: string;
  readonly policy: Overflow;
  /** Whether the connection is lost, and the reader may come back. */
  readonly isLost: boolean;
  /**
   * Whether the client holds back its credit for longer than `stallTimeoutMs`. The reader is ended only after
   * `pauseMs`.
   */
  readonly isPaused: boolean;
  /** Why the reader's waiting chunks are not written now; `null`: nothing holds them up. */
  readonly waitsFor: StallCause | null;
  readonly lagBytes: number;
  readonly lagItems: number;
  /** The age of the oldest chunk that waits for the reader. */
  readonly lagMs: number;
  /** The bound on `lagBytes`. */
  readonly maxLagBytes: number;
  /** The bytes that may be sent to the reader now; `null`: whatever its connection takes. */
  readonly creditBytes: number | null;
  readonly maxCreditBytes: number | null;
  /** The bytes that the reader's WebSocket was written, for all its readers, and has not taken; `null`: it has none. */
  readonly untakenBytes: number | null;
  readonly tokens: number;
  /** The tokens that the reader has acknowledged; `null`: it cannot acknowledge. */
  readonly acknowledgedTokens: number | null;
  readonly mergedEvents: number;
  readonly gaps: number;
  readonly lostTokens: number;
}

/** One stream's own page: sent four times a second, while a reader can take it. */
export interface StreamDetail {
  readonly atMs: number;
  readonly stream: StreamRow;
  /** The taps that read the stream still. */
  readonly taps: readonly TapLane[];
  /** The latest 200 events, oldest first. */
  readonly events: readonly StreamEvent[];
  /** The readers that are gone, the latest 50. */
  readonly endedReaders: readonly EndedReader[];
  /** What the provider said when it refused the request; `null`: it did not. */
  readonly refusal: ProviderRefusal | null;
}

/** One tap's part of a stream. */
export interface TapLane {
  readonly name: string;
  /** What waits for the tap in the stream's channel, and the bound on it. */
  readonly lagBytes: number;
  readonly maxLagBytes: number;
  /** The offset behind the last chunk that is kept; `null`: the tap does not say. */
  readonly keptOffset: number | null;
  /** The offset of the stream's next chunk. */
  readonly nextOffset: number;
  /** Whether readers get only what the tap has kept. */
  readonly gates: boolean;
  /** Whether readers wait now for what the tap has not kept yet. */
  readonly holdsReaders: boolean;
  /** Whether the model is made to wait for this tap. */
  readonly holdsModel: boolean;
}

/** By what ended streams are found. */
export type EndedFacet = 'code' | 'key' | 'model' | 'provider' | 'state';

/** A part of the list of ended streams, the newest end first: `GET /ended`. */
export interface EndedPage {
  readonly streams: readonly StreamRow[];
  /** The number of all that were found. */
  readonly found: number;
  /** `before` of the next part; `null`: this is the last one. */
  readonly next: string | null;
  /** For each facet: its values, and how many streams each would find with the other filters as they are. */
  readonly counts: Readonly<Record<EndedFacet, Readonly<Record<string, number>>>>;
}

/** The facts that a page asks for when it starts: `GET /about`. */
export interface About {
  readonly version: string;
  readonly startedAtMs: number;
  /** The gateway's URL, without a trailing slash. */
  readonly gatewayUrl: string;
  /** Whether the models are simulated. Only then there is a playground. */
  readonly isSimulated: boolean;
  /** Whether the page has to send one of the admin keys. */
  readonly needsKey: boolean;
  /** The environment variable that has the admin keys: what a person who is asked for one has to look for. */
  readonly keyVariable: string;
}

/** One setting that the gateway runs with. */
export interface Setting {
  readonly key: string;
  /** As text, with secrets masked. */
  readonly value: string;
  /** Where it was set; `default`: nowhere. */
  readonly from: string;
  readonly description: string;
}

/** What only operators may know of the gateway and its process: `GET /gateway`. */
export interface GatewayFacts {
  readonly host: string;
  readonly pid: number;
  /** The version of Node. */
  readonly node: string;
  readonly platform: string;
  readonly settings: readonly Setting[];
}
