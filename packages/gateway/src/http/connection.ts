import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * The states of a connection. `stranger`: it has shown no key yet or, where no key is needed, has sent no
 * whole request. The other states are of connections that are no strangers. `in_flight`: a request is being
 * answered, or the connection has a WebSocket. `transferring`: a request has not come whole, or the client
 * has not taken an answer that is no stream. `idle`: no request is under way. `closing`: the gateway closes
 * it.
 */
export const connectionStates = ['closing', 'idle', 'in_flight', 'stranger', 'transferring'] as const;
export type ConnectionState = (typeof connectionStates)[number];

/** One connection of a client. */
export class Connection {
  /** What the HTTP server reads and writes: the TCP connection, or the TLS connection on it. */
  socket: Socket;
  /**
   * The network that counts as one client (`networkOf`); `undefined`: a trusted proxy's connection, which has
   * many clients.
   */
  network: string | undefined;
  address: string;
  /** When the connection was accepted, or its last request ended. */
  idleSinceMs: number;
  /** The responses under way. The first is the one being written. */
  readonly responses: ServerResponse[] = [];
  /**
   * The number of requests that have not come whole, and of answers that are no streams and have not been
   * taken.
   */
  transfers = 0;
  state: ConnectionState = 'stranger';
  isKnown = false;
  isClosing = false;
  /** The connection is counted among those closed by force: each counts once. */
  isCounted = false;
  isWebSocket = false;
  /** The header of the PROXY protocol has not come yet. */
  awaitsHeader = false;
  hasAsked = false;
  /** The last request was answered before it had come whole. */
  owesBody = false;
  /** The timer that destroys the connection if it does not close in time. */
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
