import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, type ListenOptions, type Server as TcpServer, type Socket } from 'node:net';
import { errorText } from './error-text.ts';
import type { Defects } from '@spillway/server/defects';
import { GatewayError } from '@spillway/server/errors';
import { networkOf, plainAddress } from './address.ts';
import { setClientAddress } from '@spillway/server/http/client-address';
import { Connection, type ConnectionState } from './connection.ts';
import { readProxyHeader } from './proxy-header.ts';
import { hasBody } from './receive-body.ts';
import { StrangersByNetwork } from './strangers.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** How long a connection that was told to go may take to do so. */
const closeTimeoutMs = 1000;
/** How many requests of one connection may be answered or wait for it. Hardly a client sends a second one before its answer. */
const maxPipelined = 128;
/** How long a stranger may ask nothing, or need for the head of its request. */
const strangerTimeoutMs = 10_000;

/**
 * Why a connection was closed by force. `refused`: there was no room. `stranger_displaced`, `idle_displaced`,
 * `transfer_displaced`: to make room for another. `address_bound`: its address had too many strangers. `stranger_idle`: it asked nothing in time. `answer_unread`:
 * it did not take its answer. `pipelined`: it asked for too much before it was answered. `never_closed`: it was told to go. `proxy_header`: it did not begin with the header of the
 * PROXY protocol.
 */
const closeCauses = [
  'address_bound',
  'answer_unread',
  'idle_displaced',
  'never_closed',
  'pipelined',
  'proxy_header',
  'refused',
  'stranger_displaced',
  'stranger_idle',
  'transfer_displaced',
] as const;
export type CloseCause = (typeof closeCauses)[number];

export interface ConnectionsOptions {
  /**
   * The most connections at once. For one more, a stranger, one that is idle or one that has not sent its request is closed; if
   * there is none, it is refused.
   */
  readonly maxConnections: number;
  /**
   * The most strangers of one address, for longer than a burst of 1 s, and never more than half of all. Of more than that
   * the oldest are closed.
   */
  readonly maxConnectionsPerAddress: number;
  /** Whether clients need a key. If not, who has sent a whole request is no stranger. */
  readonly areKeysRequired: boolean;
  readonly proxies: TrustedProxies;
  readonly defects: Defects;
  /** Whether connections of trusted proxies begin with the header of the PROXY protocol. */
  readonly hasProxyHeaders: boolean;
  /** How long a client may take for an answer that is no stream. */
  readonly answerTimeoutMs: number;
}

/**
 * Owns every socket that a listener accepts, from there until it is closed: whose it is, what it is doing, and when it has to
 * go. The number of connections ≤ `maxConnections` always, and strangers never keep out who has a key. One file, because each of
 * its rules (which connection goes for another one) reads what the others count.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #bySocket = new Map<Socket, Connection>();
  /** Each in the order in which they came to be so, the oldest first. */
  readonly #inState: Readonly<Record<ConnectionState, Set<Connection>>> = {
    closing: new Set(),
    idle: new Set(),
    in_flight: new Set(),
    stranger: new Set(),
    transferring: new Set(),
  };
  readonly #strangers: StrangersByNetwork;
  /** The answers that are on their way, and until when they have to be taken. */
  readonly #answers = new Map<
    ServerResponse,
    { readonly connection: Connection; readonly untilMs: number }
  >();
  readonly #timer: NodeJS.Timeout;
  readonly #listeners: TcpServer[] = [];
  #serve: (socket: Socket) => void = (socket) => void socket.destroy();

  /** How many were closed by force, by the cause. */
  readonly closed: Record<CloseCause, number> = {
    address_bound: 0,
    answer_unread: 0,
    idle_displaced: 0,
    never_closed: 0,
    pipelined: 0,
    proxy_header: 0,
    refused: 0,
    stranger_displaced: 0,
    stranger_idle: 0,
    transfer_displaced: 0,
  };

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    const half = Math.max(1, Math.floor(options.maxConnections / 2));
    this.#strangers = new StrangersByNetwork(Math.min(options.maxConnectionsPerAddress, half));
    this.#timer = setInterval(() => {
      options.defects.contain('connections', () => this.#tick(performance.now()));
    }, 1000);
    this.#timer.unref();
  }

  /** How many are open. */
  get size(): number {
    return this.#bySocket.size;
  }

  /** How many are in that state. */
  count(state: ConnectionState): number {
    return this.#inState[state].size;
  }

  /** Takes over whatever the server accepts. Before anybody else listens to its requests. */
  own(server: Server): void {
    // Node's own listener, which reads requests, comes behind this one.
    const serve = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    this.#serve = (socket) => {
      for (const listener of serve) listener.call(server, socket);
    };
    server.on('connection', (socket) => this.#accept(socket));
    const answer = server.listeners('request') as ((
      request: IncomingMessage,
      response: ServerResponse,
    ) => void)[];
    server.removeAllListeners('request');
    server.on('request', (request, response) => {
      if (!this.#asked(request, response)) return;
      for (const listener of answer) listener.call(server, request, response);
    });
    server.prependListener('upgrade', (request: IncomingMessage) => {
      const connection = this.#bySocket.get(request.socket);
      if (connection === undefined) return;
      this.#vouch(connection, request);
      connection.hasAsked = true;
      connection.isWebSocket = true;
      this.#place(connection);
    });
  }

  /** One more socket listens for the same server. */
  async listen(options: ListenOptions): Promise<void> {
    const listener = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 4096 }, (socket) =>
      this.#accept(socket),
    );
    this.#listeners.push(listener);
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(options, resolve);
    });
  }

  /** It has shown that it may use the gateway, and is no stranger any more. */
  known(socket: Socket): void {
    const connection = this.#bySocket.get(socket);
    if (connection === undefined || connection.isKnown) return;
    connection.isKnown = true;
    this.#place(connection);
  }

  /**
   * Ends a connection that was taken from the HTTP server, or that it cannot go on with, with a last word. Whatever still
   * comes is thrown away. A second word is never said, and none inside of an answer or behind one.
   */
  close(socket: Socket, word = ''): void {
    const connection = this.#bySocket.get(socket);
    if (connection?.isClosing === true) return;
    if (
      connection === undefined ||
      !socket.writable ||
      connection.responses.some(({ headersSent }) => headersSent)
    ) {
      socket.destroy();
      return;
    }
    connection.isClosing = true;
    this.#place(connection);
    this.#arm(connection);
    // With bytes that nobody read, the kernel would reset the connection, and the word would be lost.
    socket.removeAllListeners('data');
    socket.on('data', () => undefined);
    socket.resume();
    if (word === '' || connection.owesBody) socket.end();
    else socket.end(word);
  }

  /** An answer that is no stream has been made, and has to be taken in time. */
  answering({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.#bySocket.get(socket);
    if (connection === undefined || response.destroyed) return;
    const untilMs = performance.now() + this.#options.answerTimeoutMs;
    this.#answers.set(response, { connection, untilMs });
    connection.transfers += 1;
    this.#place(connection);
    response.once('close', () => {
      connection.transfers -= 1;
      this.#answers.delete(response);
    });
  }

  /** Takes no more, and closes those who have nothing to wait for. */
  stop(): void {
    clearInterval(this.#timer);
    for (const listener of this.#listeners) listener.close();
    for (const state of ['closing', 'idle', 'stranger'] as const) {
      // A session has been told why, and has a deadline.
      for (const { isWebSocket, socket } of this.#inState[state]) if (!isWebSocket) socket.destroy();
    }
  }

  #accept(socket: Socket): void {
    // What is wrong with it is in the close that follows.
    socket.on('error', () => undefined);
    // Of a link-local address, Node tells the interface behind a percent sign.
    const [remote = ''] = (socket.remoteAddress ?? '').split('%');
    const address = plainAddress(remote);
    if (address === undefined) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, address, performance.now());
    const hasHeader = this.#options.hasProxyHeaders && this.#options.proxies.trusts(address);
    connection.awaitsHeader = hasHeader;
    if (!this.#makeRoom()) {
      this.closed.refused += 1;
      socket.destroy();
      return;
    }
    this.#bySocket.set(socket, connection);
    socket.once('close', () => this.#forget(connection));
    // Its client sends nothing more, so it does not wait for much either.
    socket.once('end', () => this.#arm(connection));
    if (hasHeader) this.#readHeader(connection);
    else this.#begin(connection);
  }

  /** Whose it is, is known: from here on it is the HTTP server's. */
  #begin(connection: Connection): void {
    setClientAddress(connection.socket, connection.address);
    if (!this.#options.proxies.trusts(connection.address)) connection.network = networkOf(connection.address);
    this.#place(connection);
    this.#serve(connection.socket);
  }

  #readHeader(connection: Connection): void {
    const { socket } = connection;
    this.#place(connection);
    let received = Buffer.alloc(0);
    const onData = (bytes: Buffer): void => {
      received = Buffer.concat([received, bytes]);
      const header = readProxyHeader(received);
      if (header === 'incomplete') return;
      socket.off('data', onData);
      if (header === 'invalid') {
        this.#destroy(connection, 'proxy_header');
        return;
      }
      socket.pause();
      connection.awaitsHeader = false;
      connection.address = header.address ?? connection.address;
      connection.idleSinceMs = performance.now();
      if (received.length > header.byteLength) socket.unshift(received.subarray(header.byteLength));
      this.#begin(connection);
      socket.resume();
    };
    socket.on('data', onData);
    socket.once('end', () => {
      if (connection.awaitsHeader) socket.destroy();
    });
  }

  /** Makes room for one more, at the cost of whoever has the least to lose. Returns whether there is room. */
  #makeRoom(): boolean {
    if (this.#bySocket.size < this.#options.maxConnections) return true;
    const { closing, idle, stranger, transferring } = this.#inState;
    // A few strangers may stay: of those who come now, none has been read yet.
    const haveStrangersToGo = stranger.size > this.#options.maxConnections / 8;
    const [of, cause] =
      closing.size > 0
        ? ([closing, 'stranger_displaced'] as const)
        : haveStrangersToGo || idle.size + transferring.size === 0
          ? ([this.#strangers.crowd ?? stranger, 'stranger_displaced'] as const)
          : transferring.size > idle.size
            ? ([transferring, 'transfer_displaced'] as const)
            : ([idle, 'idle_displaced'] as const);
    const [oldest] = of;
    if (oldest !== undefined) this.#destroy(oldest, cause);
    return oldest !== undefined;
  }

  /** Returns whether the request is to be answered. */
  #asked(request: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#bySocket.get(request.socket);
    // One read may bring a thousand more behind the one for which the connection was closed.
    if (connection === undefined) return false;
    if (connection.responses.length >= maxPipelined) {
      this.#destroy(connection, 'pipelined');
      return false;
    }
    this.#vouch(connection, request);
    const { responses } = connection;
    connection.hasAsked = true;
    connection.owesBody = false;
    responses.push(response);
    let isComing = hasBody(request);
    if (isComing) connection.transfers += 1;
    const onWhole = (): void => {
      if (!isComing) return;
      isComing = false;
      connection.transfers -= 1;
      if (connection.isKnown) this.#place(connection);
    };
    request.once('end', onWhole);
    if (connection.isKnown) this.#place(connection);
    response.once('close', () => {
      onWhole();
      responses.splice(responses.indexOf(response), 1);
      if (responses.length > 0) return;
      connection.owesBody = !request.complete;
      connection.idleSinceMs = performance.now();
      this.#place(connection);
    });
    if (this.#options.areKeysRequired || connection.isKnown) return true;
    if (hasBody(request)) request.once('end', () => this.known(request.socket));
    else this.known(request.socket);
    return true;
  }

  /** Finds out for whom a trusted proxy sends a request. */
  #vouch({ address }: Connection, request: IncomingMessage): void {
    const client = this.#options.proxies.clientOf(address, request.headers);
    if (client !== address) setClientAddress(request, client);
  }

  /** Puts it behind all others that are in the same state. */
  #place(connection: Connection): void {
    if (!this.#bySocket.has(connection.socket)) return;
    this.#take(connection);
    connection.state = connection.nextState;
    this.#inState[connection.state].add(connection);
    const { network, state } = connection;
    if (state === 'stranger' && network !== undefined) this.#strangers.add(network, connection);
  }

  #take(connection: Connection): void {
    const { network, state } = connection;
    this.#inState[state].delete(connection);
    if (network !== undefined) this.#strangers.delete(network, connection);
  }

  #forget(connection: Connection): void {
    clearTimeout(connection.deadline);
    this.#bySocket.delete(connection.socket);
    this.#take(connection);
  }

  /** From now on it has a deadline, whatever it does. */
  #arm(connection: Connection): void {
    connection.deadline ??= setTimeout(() => this.#destroy(connection, 'never_closed'), closeTimeoutMs);
    connection.deadline.unref();
  }

  #destroy(connection: Connection, cause: CloseCause): void {
    this.#count(connection, cause);
    // At once, and not when it is closed: its room is given to another one.
    this.#forget(connection);
    connection.socket.destroy();
  }

  #count(connection: Connection, cause: CloseCause): void {
    if (!connection.isCounted) this.closed[cause] += 1;
    connection.isCounted = true;
  }

  #tick(nowMs: number): void {
    for (const surplus of this.#strangers.surplus(nowMs)) this.#destroy(surplus, 'address_bound');
    for (const connection of this.#inState.stranger) {
      if (nowMs - connection.idleSinceMs < strangerTimeoutMs) break;
      if (connection.responses.length === 0 && !connection.isWebSocket) this.#endStranger(connection);
    }
    for (const [response, { connection, untilMs }] of this.#answers) {
      if (nowMs < untilMs) break;
      this.#answers.delete(response);
      if (connection.responses[0] !== response) {
        // Nobody can take it before the answer that is written, which may be a long stream.
        this.#answers.set(response, { connection, untilMs: nowMs + this.#options.answerTimeoutMs });
        continue;
      }
      // One that asked for several is closed once.
      if (this.#bySocket.has(connection.socket)) this.#destroy(connection, 'answer_unread');
    }
  }

  #endStranger(connection: Connection): void {
    const { awaitsHeader, hasAsked, socket } = connection;
    if (awaitsHeader) {
      this.#destroy(connection, 'proxy_header');
      return;
    }
    this.#count(connection, 'stranger_idle');
    this.close(socket, !hasAsked && socket.bytesRead > 0 ? tooSlow : '');
  }
}

const tooSlow = errorText(
  new GatewayError('request_timeout', `The request's head did not arrive within ${strangerTimeoutMs} ms.`),
);
