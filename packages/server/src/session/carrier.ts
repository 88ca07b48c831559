import type { Credit } from '@spillway/core';
import type { CloseReason, GatewayFrame } from '@spillway/core/session';
import type { Caller } from '../access/caller.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { RequestCarrier } from './arrivals.ts';

/** The connection that a response has at the moment. */
export interface SessionLine {
  /** What may be sent to all streams of the connection together. */
  readonly credit: Credit;
  readonly windowBytes: number;
  /** Readers come back over it, and more of them will: nothing new is sent. */
  readonly isResuming: boolean;
  /** Its socket takes no more at the moment. */
  readonly isBlocked: boolean;
  send(frame: GatewayFrame): void;
  /** A large event has its place at least until the connection has taken it. */
  sendData(stream: number, from: number, to: number, bytes: Uint8Array, large?: LargeRun): void;
  /** How long its link should be left alone. */
  delayMs(): number;
}

/** A session as whoever opens streams over it knows it. */
export interface Carrier<Stream> extends RequestCarrier, SessionLine {
  /** The client's IP address. */
  readonly address: string;
  /** The client's User-Agent: a browser's pages cannot put it into a frame. */
  readonly agent: string | undefined;
  /** No stream is carried at the moment. */
  readonly isUnused: boolean;
  lastRequest: number;
  /** Notes whose it is, from the first caller on. Returns `false` if the session ended over it. */
  meet(caller: Caller | undefined): boolean;
  /** Carries a stream from now on, under that number. */
  take(stream: Stream, number: number): void;
  /** Does not carry a stream any more. */
  release(stream: Stream): void;
  /** Closes the connection. */
  end(reason: CloseReason, how?: 'leave' | 'lost'): void;
}
