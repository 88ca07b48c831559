import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * What a connection is at the moment. `stranger`: it has shown no key yet; where none is needed, it has sent no whole
 * request. Of those who are no strangers: `in_flight` is one that is being answered, or has a WebSocket; `transferring`
 * one whose request has not come whole, or whose answer, which is no stream, has not been taken; `idle` one over which nothing is asked.
 * `closing`: it has been told to go.
 */
export const connectionStates = ['closing', 'idle', 'in_flight', 'stranger', 'transferring'] as const;
export type ConnectionState = (typeof connectionStates)[number];

/** One connection that a client has to a listener. */
export class Connection {
  readonly socket: Socket;
  /** What is counted as one address; `undefined`: a trusted proxy's, which has many clients. */
  network: string | undefined;
  address: string;
  /** When it was accepted, or its last request was over. */
  idleSinceMs: number;
  /** What is being answered, first the one that is written. */
  readonly responses: ServerResponse[] = [];
  /** How many requests have not come whole, and how many answers that are no streams have not been taken. */
  transfers = 0;
  state: ConnectionState = 'stranger';
  isKnown = false;
  isClosing = false;
  /** It is among those that were closed by force, and is counted once. */
  isCounted = false;
  isWebSocket = false;
  /** The header of the PROXY protocol has not come yet. */
  awaitsHeader = false;
  hasAsked = false;
  /** The last request was answered before all of it had come. */
  owesBody = false;
  /** Destroys it, once it has to close. */
  deadline: NodeJS.Timeout | undefined;

  constructor(socket: Socket, address: string, nowMs: number) {
    this.socket = socket;
    this.address = address;
    this.idleSinceMs = nowMs;
  }

  get nextState(): ConnectionState {
    if (this.isClosing) return 'closing';
    if (!this.isKnown) return 'stranger';
    if (this.isWebSocket) return 'in_flight';
    if (this.responses.length === 0) return 'idle';
    return this.transfers >= this.responses.length ? 'transferring' : 'in_flight';
  }
}
