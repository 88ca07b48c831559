import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { within } from '../../../core/test/support/within.ts';
import type { Clock } from '@spillway/core/clock';
import { acceptTwilio, type CarrierLeg, carrierSocketOptions } from '../../src/index.ts';
import type { CallRecord, SimulatedCall } from '../../src/simulate/carrier/index.ts';

/** A server whose sockets are a bridge's end of carriers' connections. Closed when the test is over. */
export interface CarrierServer {
  readonly url: string;
  /** The sockets that were accepted, in order. */
  readonly sockets: readonly WebSocket[];
  /** A client of the server, and the server's end of it. One at a time. */
  pair(): Promise<{ readonly peer: WebSocket; readonly socket: WebSocket }>;
}

/** Opens a server on a free port of loopback. */
export async function openCarrierServer(onSocket?: (socket: WebSocket) => void): Promise<CarrierServer> {
  const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 0 });
  const sockets: WebSocket[] = [];
  const peers: WebSocket[] = [];
  server.on('connection', (socket) => {
    sockets.push(socket);
    onSocket?.(socket);
  });
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(async () => {
    for (const socket of [...sockets, ...peers]) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    sockets,
    async pair() {
      const before = sockets.length;
      const peer = new WebSocket(url, { perMessageDeflate: false });
      peers.push(peer);
      peer.on('error', () => undefined);
      await new Promise((resolve, reject) => {
        peer.once('open', resolve);
        peer.once('error', reject);
      });
      await until(() => sockets.length > before, 'the server has the socket');
      const socket = sockets[before];
      if (socket === undefined) throw new Error('There is no socket.');
      return { peer, socket };
    },
  };
}

/** Opens a server that makes a leg of each socket. Returns its URL. */
export async function openLegs(onLeg: (leg: CarrierLeg) => void, clock?: Clock): Promise<string> {
  const accept = async (socket: WebSocket): Promise<void> => {
    onLeg(await acceptTwilio(socket, clock === undefined ? {} : { clock }));
  };
  return (await openCarrierServer((socket) => void accept(socket))).url;
}

/** Resolves with the code and the reason with which a socket is closed. */
export function closed(socket: WebSocket): Promise<{ readonly code: number; readonly reason: string }> {
  const close = new Promise<{ readonly code: number; readonly reason: string }>((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  return within(close, 'the socket to be closed');
}

/** Resolves with what the human's end knows about a call, when it is over. */
export function ended(call: SimulatedCall): Promise<CallRecord> {
  return within(call.ended, 'the call to end');
}
