import type { Credit } from '@spillway/core';
import type { CloseReason, GatewayFrame } from '@spillway/core/session';
import type { Caller } from '../access/caller.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { RequestCarrier } from './arrivals.ts';

/** The connection that carries a response at the moment. */
export interface SessionLine {
  /** The credit of all streams of the connection together. */
  readonly credit: Credit;
  readonly windowBytes: number;
  /** Whether more readers are coming back over the connection. Until they are back, no new chunk is sent. */
  readonly isResuming: boolean;
  /** Whether the socket takes no more at the moment. */
  readonly isBlocked: boolean;
  /** The bytes that were written to the connection, for all of its streams, and that it has not taken. */
  readonly untakenBytes: number;
  send(frame: GatewayFrame): void;
  /** Sends a chunk. A large event keeps its place in EventMemory at least until the connection has taken it. */
  sendData(stream: number, from: number, to: number, bytes: Uint8Array, large?: LargeRun): void;
  /** How long, in milliseconds, to wait before the next write to this link. */
  delayMs(): number;
}

/** A session, as far as the code that opens streams over it needs it. */
export interface Carrier<Stream> extends RequestCarrier, SessionLine {
  /** The client's IP address. */
  readonly address: string;
  /** The client's User-Agent header: a page in a browser cannot put it into a frame. */
  readonly agent: string | undefined;
  /** Whether the session carries no stream at the moment. */
  readonly isUnused: boolean;
  lastRequest: number;
  /** Notes the session's first known caller. Returns `false` if the session ended because of it. */
  meet(caller: Caller | undefined): boolean;
  /** Carries a stream from now on, under that number. */
  take(stream: Stream, number: number): void;
  /** Carries a stream no longer. */
  release(stream: Stream): void;
  /** Closes the connection. */
  close(reason: CloseReason, how?: 'leave' | 'lost'): void;
}
