import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { RawEvent } from './realtime-client.ts';

/** A server that sends whatever a test wants, and keeps what came. */
export class WildServer {
  readonly server: WebSocketServer;
  readonly received: RawEvent[] = [];
  readonly sockets: WebSocket[] = [];
  readonly requests: IncomingMessage[] = [];
  closeCode: number | undefined;
  /** Called for each event of a client. */
  answer: (event: RawEvent, socket: WebSocket) => void = ({ type }, socket) => {
    if (type === 'session.update') socket.send('{"type":"session.updated","session":{}}');
  };

  /** `autoPong`: whether it answers pings. */
  constructor(autoPong = true) {
    this.server = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong });
    this.server.on('connection', (socket, request) => {
      this.sockets.push(socket);
      this.requests.push(request);
      socket.on('message', (data) => {
        const event = JSON.parse((data as Buffer).toString()) as RawEvent;
        this.received.push(event);
        this.answer(event, socket);
      });
      socket.on('close', (code) => {
        this.closeCode = code;
      });
      socket.on('error', () => undefined);
    });
  }

  async listening(): Promise<string> {
    if (this.server.address() === null)
      await new Promise((resolve) => this.server.once('listening', resolve));
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1/realtime`;
  }

  /** Sends an event. */
  send(event: unknown): void {
    this.sockets.at(-1)?.send(JSON.stringify(event));
  }

  of(type: string): RawEvent[] {
    return this.received.filter((event) => event.type === type);
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
