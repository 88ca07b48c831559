import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { onTestFinished } from 'vitest';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';

/** A provider of realtime conversations that does what a test says. */
export interface RealtimeProvider {
  /** Its base URL, for an upstream: `http://127.0.0.1:9000/v1`. */
  readonly url: string;
  /** The upgrade requests that came. */
  readonly requests: readonly IncomingMessage[];
  readonly sockets: readonly WebSocket[];
  /** The newest conversation. */
  readonly next: () => Promise<WebSocket>;
}

/** What happens instead of a conversation. */
type Refuse = (request: IncomingMessage, socket: Duplex) => void;

/** Starts one; `refuse` answers upgrade requests itself. */
export async function startRealtimeProvider(
  refuse?: Refuse,
  { autoPong = true }: { readonly autoPong?: boolean } = {},
): Promise<RealtimeProvider> {
  const requests: IncomingMessage[] = [];
  const sockets: WebSocket[] = [];
  const upgraded: Duplex[] = [];
  const waiting: ((socket: WebSocket) => void)[] = [];
  let taken = 0;
  const accepting = new WebSocketServer({ noServer: true, maxPayload: 1 << 30, autoPong });
  const server = createServer();
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    requests.push(request);
    upgraded.push(socket);
    socket.on('error', () => undefined);
    if (refuse !== undefined) refuse(request, socket);
    else
      accepting.handleUpgrade(request, socket, head, (accepted) => {
        accepted.on('error', () => undefined);
        sockets.push(accepted);
        waiting.shift()?.(accepted);
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of upgraded) socket.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    sockets,
    next: () => {
      const come = sockets[taken];
      taken += 1;
      return come === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(come);
    },
  };
}

/** Less than a test may take, so that its own expectation fails. */
const closeDeadlineMs = 25_000;

/** A client's end of a conversation, and what came. */
export interface RealtimePeer {
  readonly socket: WebSocket;
  readonly messages: readonly { readonly data: Buffer; readonly isBinary: boolean }[];
  /** How it was closed: `1000 words`; `open`: it was not, for 25 s. */
  readonly closed: Promise<string>;
}

/** Notes what comes to a WebSocket. */
export function watched(socket: WebSocket): RealtimePeer {
  const messages: { data: Buffer; isBinary: boolean }[] = [];
  socket.on('message', (data, isBinary) => messages.push({ data: data as Buffer, isBinary }));
  const closed = new Promise<string>((resolve) => {
    socket.on('close', (code, reason) => resolve(`${code} ${reason.toString()}`.trim()));
    setTimeout(() => resolve('open'), closeDeadlineMs).unref();
  });
  return { socket, messages, closed };
}

/** Opens a conversation through a gateway. */
export async function openRealtime(
  url: string,
  options: ClientOptions & { readonly protocols?: string[] } = {},
): Promise<RealtimePeer> {
  const { protocols = [], ...rest } = options;
  const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, rest);
  onTestFinished(() => socket.terminate());
  const peer = watched(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => undefined);
  return peer;
}

/** An answer to an upgrade request that is no WebSocket. */
export interface UpgradeRefusal {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Asks for a conversation that is refused. */
export function refusedRealtime(
  url: string,
  options: ClientOptions & { readonly protocols?: string[] } = {},
): Promise<UpgradeRefusal> {
  const { protocols = [], ...rest } = options;
  const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, rest);
  return new Promise((resolve, reject) => {
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (body += part));
      response.on('end', () => {
        socket.terminate();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    });
    socket.on('open', () => reject(new Error('expected a refusal, got a conversation')));
    socket.on('error', reject);
  });
}
