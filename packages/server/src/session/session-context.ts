import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Caller } from '../access/caller.ts';
import type { Refusal } from '../access/refusal.ts';
import type { RequestMemory } from '../memory/request-memory.ts';
import type { RetainedStreams } from '../memory/retained-streams.ts';
import type { GatewayError } from '../errors.ts';
import type { Defects } from '../defects.ts';
import type { Paces } from '../sink/paces.ts';
import type { Meter } from '../stream/meter.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Arrivals } from './arrivals.ts';
import type { SessionRequests } from './session-requests.ts';
import type { SessionReader } from './session-reader.ts';

/** The bounds of sessions. Times are in milliseconds. */
export interface SessionsConfig extends Pick<
  StreamDeadlines,
  'detachGraceMs' | 'keepAliveMs' | 'minBytesPerSecond' | 'stallTimeoutMs' | 'windowBytes'
> {
  /** The most bytes of a request's path and headers together. */
  readonly maxHeaderBytes: number;
  /** The largest message of a client. */
  readonly maxMessageBytes: number;
  /** The bytes from all clients together that may be held before they are handled. */
  readonly maxRequestMemoryBytes: number;
  /** The streams that a session may carry at once. */
  readonly maxSessionStreams: number;
  /** How long a message may take to arrive whole. */
  readonly requestTimeoutMs: number;
}

/** Knows callers by their keys. */
export interface SessionGuard {
  /** Whether requests need a key. Without keys, every client that sends `open` is known. */
  readonly needsKey: boolean;
  /** The caller of these keys; `undefined`: a key is needed, and none of these is accepted. */
  identify(headers: IncomingHttpHeaders, queryKey: string | undefined): Caller | undefined;
  /** Why none of these keys is accepted. */
  keyRefusal(headers: IncomingHttpHeaders, queryKey: string | undefined): GatewayError;
}

/** A server, as far as its sessions need it. */
export interface SessionContext {
  readonly config: SessionsConfig;
  readonly defects: Defects;
  readonly clock: ServerClock;
  readonly guard: SessionGuard;
  readonly memory: RequestMemory;
  /** Room for bytes of strangers: clients that have shown no accepted key yet, all of them together. */
  readonly strangers: RequestMemory;
  readonly paces: Paces;
  readonly retained: Pick<RetainedStreams<GatewayStream>, 'keepReader'>;
  readonly meter: Meter;
  /** The stream of that token, if a caller with these headers may read it. */
  readonly find: (token: string, caller: Caller, headers: IncomingHttpHeaders) => GatewayStream | undefined;
  /** Answers requests. Default: requests are refused, and streams can be read. */
  readonly requests?: SessionRequests | undefined;
  /** Whether new streams are accepted. */
  readonly isReady: () => boolean;
  /** Whether the process is about to end. Until then clients of running streams may come back. */
  readonly isStopping: () => boolean;
  /** Knows which requests did not arrive. */
  readonly arrivals: Arrivals;
  /** The readers that can be resumed, by the names that clients gave them. */
  readonly readers: Map<string, SessionReader>;
  /** Called for each frame that is answered with an error instead of a stream. */
  readonly onRefused?: ((refusal: Refusal) => void) | undefined;
  /** Called once, when a session has shown an accepted key or needs none. */
  readonly onKnown: (socket: Socket) => void;
}
