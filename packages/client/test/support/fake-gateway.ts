import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ClientFrame, encodeDataHeader, type GatewayFrame, subprotocol } from '@spillway/core/session';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { within } from '../../../core/test/support/within.ts';

type FrameOf<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** A plain request as it came. */
export interface PlainRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface FakeGatewayOptions {
  /** Default: the protocol's. `false`: none is accepted; `undefined`: the upgrade is refused. */
  readonly accepts?: 'nothing' | 'protocol' | 'session';
  /** What it says as soon as a session is there. Default: its limits, and `session-` with the number of the connection. */
  readonly greeting?: string;
  readonly limits?: { readonly maxStreams?: number; readonly maxMessageBytes?: number };
  /** The path below which it is, without a slash at its end. Default: none. */
  readonly prefix?: string;
}

/** Plays the gateway by hand: a test says what it sends, and sees what it got. */
export class FakeGateway {
  /** Whether an upgrade is taken; and then, whether the subprotocol is. */
  accepts: 'nothing' | 'protocol' | 'session';
  readonly requests: PlainRequest[] = [];
  /** All that ever came. */
  readonly sessions: FakeSession[] = [];
  /** Upgrades that were asked for, refused ones included. */
  upgrades = 0;
  url = '';
  readonly #greeting: string | undefined;
  readonly #limits: FakeGatewayOptions['limits'];
  readonly #prefix: string;
  readonly #newSessions = new Mailbox<FakeSession>();
  readonly #server = createServer((request, response) => void this.#onRequest(request, response));
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => (this.accepts === 'session' ? subprotocol : false),
  });

  constructor(options: FakeGatewayOptions) {
    const { accepts = 'session', limits, prefix = '' } = options;
    this.accepts = accepts;
    this.#prefix = prefix;
    this.#greeting = options.greeting;
    this.#limits = limits;
    this.#server.on('upgrade', (request, socket, head) => {
      this.upgrades++;
      if (this.accepts === 'nothing' || request.url !== `${prefix}/streams`) {
        socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        const session = new FakeSession(client);
        this.sessions.push(session);
        const greeting = this.#greeting ?? this.#ownGreeting();
        if (greeting !== '') client.send(greeting);
        this.#newSessions.put(session);
      });
    });
  }

  async listen(port = 0): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#prefix}`;
  }

  close(): void {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** The next session that comes, in order, with its `open` read. */
  async session(): Promise<FakeSession> {
    const session = await within(this.#newSessions.take(), 'a session');
    await session.frame('open');
    return session;
  }

  #ownGreeting(): string {
    const limits = { maxStreams: 100, maxMessageBytes: 1_048_576, ...this.#limits };
    return JSON.stringify({ type: 'open', ...limits, session: `session-${this.sessions.length}` });
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    const { headers, method = '', url: path = '' } = request;
    this.requests.push({ method, path, headers, body });
    response.writeHead(200, { 'content-type': 'text/plain' }).end(`plain ${method} ${path}`);
  }
}

/** One WebSocket of a client. */
export class FakeSession {
  readonly frames: ClientFrame[] = [];
  /** Resolves when it is closed; rejects when that takes too long. */
  readonly closed: () => Promise<{ code: number; reason: string }>;
  readonly #client: WebSocket;
  readonly #mail = new Mailbox<ClientFrame>();

  constructor(client: WebSocket) {
    this.#client = client;
    client.on('message', (message) => {
      const frame = JSON.parse((message as Buffer).toString()) as ClientFrame;
      this.frames.push(frame);
      this.#mail.put(frame);
    });
    client.on('error', () => {});
    const closed = new Promise<{ code: number; reason: string }>((resolve) => {
      client.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.closed = () => within(closed, 'the session to close');
  }

  /** The next frame of a type; those before it are passed over. */
  async frame<Type extends ClientFrame['type']>(type: Type): Promise<FrameOf<Type>> {
    for (;;) {
      const frame = await within(this.#mail.take(), `a frame: ${type}`);
      if (frame.type === type) return frame as FrameOf<Type>;
    }
  }

  /** All frames of a type so far. */
  framesOf<Type extends ClientFrame['type']>(type: Type): readonly FrameOf<Type>[] {
    return this.frames.filter((frame): frame is FrameOf<Type> => frame.type === type);
  }

  send(frame: GatewayFrame): void {
    this.#client.send(JSON.stringify(frame));
  }

  sendRaw(message: string | Uint8Array): void {
    this.#client.send(message);
  }

  respond(
    stream: number,
    init: { status?: number; url?: string; headers?: Record<string, string> } = {},
  ): void {
    const {
      headers = { 'content-type': 'text/event-stream' },
      status = 200,
      url = `/streams/token-${stream}`,
    } = init;
    this.send({ type: 'response', stream, url, status, headers });
  }

  data(stream: number, from: number, to: number, chunk: string | Uint8Array): void {
    this.#client.send(Buffer.concat([encodeDataHeader(stream, from, to), Buffer.from(chunk)]));
  }

  end(stream: number): void {
    this.send({ type: 'end', stream, state: 'completed' });
  }

  fail(stream: number, code: string, offset = 0): void {
    this.send({ type: 'error', stream, code, message: `It is ${code}.`, offset });
  }

  /** The network is gone: no close frame. */
  cut(): void {
    this.#client.terminate();
  }

  close(code: number, reason = ''): void {
    this.#client.close(code, reason);
  }

  /** The machine is gone: nothing is read or answered any more, and the connection stays. */
  freeze(): void {
    this.#client.pause();
  }

  /** When everything sent before has been read by the other side, as far as its answer to a ping shows. */
  async settle(): Promise<void> {
    const pong = once(this.#client, 'pong');
    this.#client.ping();
    await pong;
    // What the client does with it takes a few turns of its event loop.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Keeps what nobody has asked for yet. */
class Mailbox<Item> {
  readonly #items: Item[] = [];
  readonly #waiters: ((item: Item) => void)[] = [];

  put(item: Item): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#items.push(item);
    else waiter(item);
  }

  take(): Promise<Item> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}

/** Starts one for a test, which ends it. */
export async function startFakeGateway(options: FakeGatewayOptions = {}): Promise<FakeGateway> {
  const gateway = new FakeGateway(options);
  await gateway.listen();
  onTestFinished(() => gateway.close());
  return gateway;
}
