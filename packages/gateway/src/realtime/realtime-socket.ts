import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';

/** One side's connection: the WebSocket, and what is below it. */
export interface RealtimeSocket {
  readonly webSocket: WebSocket;
  readonly socket: Socket;
}
