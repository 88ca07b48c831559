import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, type ListenOptions, type Server as TcpServer, type Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { errorText } from './error-text.ts';
import type { Refusal } from '@spillway/server/access/refusal';
import type { Defects } from '@spillway/server/defects';
import { GatewayError } from '@spillway/server/errors';
import { networkOf, plainAddress } from './address.ts';
import { clientAddress, setClientAddress } from '@spillway/server/http/client-address';
import { setTcp } from '@spillway/server/sink/tcp-of';
import { Connection, type ConnectionState } from './connection.ts';
import { readProxyHeader } from './proxy-header.ts';
import { hasBody } from './receive-body.ts';
import { StrangersByNetwork } from './strangers.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** How long a closing connection may take to close. */
const closeTimeoutMs = 1000;
/**
 * The most requests of one connection that are answered or wait for their turn. Few clients send a second one
 * before the first answer.
 */
const maxPipelined = 128;
/** How long a stranger may stay without a request, or take to send the head of one. */
const strangerTimeoutMs = 10_000;

/**
 * Why a connection was closed by force. `refused`: there was no room for it. `stranger_displaced`,
 * `idle_displaced`, `transfer_displaced`: it made room for another one. `address_bound`: its address had too
 * many strangers. `stranger_idle`: it sent no request in time. `answer_unread`: its client did not take an
 * answer in time. `pipelined`: it had too many requests at once. `never_closed`: it did not close in time.
 * `proxy_header`: it did not begin with the header of the PROXY protocol. `tls_handshake`: TLS could not begin on it.
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
  'tls_handshake',
  'transfer_displaced',
] as const;
export type CloseCause = (typeof closeCauses)[number];

export interface ConnectionsOptions {
  /**
   * The most connections at once. For one more, a stranger, an idle connection or one that is `transferring`
   * is closed. If there is none, the new one is refused.
   */
  readonly maxConnections: number;
  /**
   * The most strangers of one address, for longer than a burst of 1 s; never more than half of
   * `maxConnections`. Beyond that the oldest are closed.
   */
  readonly maxConnectionsPerAddress: number;
  /** Whether clients need a key. If not, a connection that has sent a whole request is no stranger. */
  readonly areKeysRequired: boolean;
  readonly proxies: TrustedProxies;
  readonly defects: Defects;
  /** Whether connections of trusted proxies begin with the header of the PROXY protocol. */
  readonly hasProxyHeaders: boolean;
  /** How long a client may take to read an answer that is no stream. */
  readonly answerTimeoutMs: number;
  /** Called for each connection that gets an error before a request of it could be read, or that gets no answer. */
  readonly onRefused: (refusal: Refusal) => void;
  /** The certificate for new connections, which have to begin with TLS; `undefined`: the listener has none. */
  readonly secureContext: (() => SecureContext) | undefined;
}

/**
 * Owns every socket that a listener accepts until it is closed: its client, its state, and its deadline. The
 * number of connections ≤ `maxConnections` always, and strangers never keep out a client with a key. One
 * file, because the rule that chooses which connection is closed reads what all other rules count.
 */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #bySocket = new Map<Socket, Connection>();
  /** The connections in each state, in the order in which `#place` put them there, the oldest first. */
  readonly #inState: Readonly<Record<ConnectionState, Set<Connection>>> = {
    closing: new Set(),
    idle: new Set(),
    in_flight: new Set(),
    stranger: new Set(),
    transferring: new Set(),
  };
  readonly #strangers: StrangersByNetwork;
  /** The answers that clients are reading, and when they must have been read. */
  readonly #answers = new Map<
    ServerResponse,
    { readonly connection: Connection; readonly untilMs: number }
  >();
  readonly #timer: NodeJS.Timeout;
  readonly #listeners: TcpServer[] = [];
  #serve: (socket: Socket) => void = (socket) => void socket.destroy();

  /** The number of connections closed by force, by cause. */
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
    tls_handshake: 0,
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

  /** Whether connections begin with TLS. */
  get isSecure(): boolean {
    return this.#options.secureContext !== undefined;
  }

  /** The number of open connections. */
  get size(): number {
    return this.#bySocket.size;
  }

  /** The number of connections in that state. */
  count(state: ConnectionState): number {
    return this.#inState[state].size;
  }

  /** Takes over the server's connections. To be called before other listeners for its requests are added. */
  own(server: Server): void {
    // Node's own listener reads requests. It is called only after the checks here.
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

  /** Opens one more listening socket for the same server. */
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

  /** The connection has shown that it may use the gateway: it is no stranger any more. */
  known(socket: Socket): void {
    const connection = this.#bySocket.get(socket);
    if (connection === undefined || connection.isKnown) return;
    connection.isKnown = true;
    this.#place(connection);
  }

  /**
   * Closes a connection that the HTTP server handed over or cannot continue, after sending `word`. Bytes that
   * still come are dropped. `word` is not sent when the connection is closing already, or when a response has
   * begun. It is not sent either when the last request was answered before it had come whole.
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
    // Unread bytes would make the kernel reset the connection, and the word would be lost.
    socket.removeAllListeners('data');
    socket.on('data', () => undefined);
    socket.resume();
    if (word === '' || connection.owesBody) socket.end();
    else socket.end(word);
  }

  /** Answers a connection with an error, and closes it. `more`: further headers of the answer. */
  refuse(socket: Socket, error: GatewayError, more: readonly (readonly [string, string])[] = []): void {
    const requestId = randomUUID();
    this.#tellRefused(socket, error, requestId);
    this.close(socket, errorText(error, requestId, more));
  }

  #tellRefused(socket: Socket, error: GatewayError, requestId: string | undefined): void {
    const address = clientAddress({ socket });
    const unread = { caller: undefined, headers: {}, method: '', path: '' };
    this.#options.onRefused({ requestId, address, error, ...unread });
  }

  /** An answer that is no stream was written: from now on its client has to read it in time. */
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

  /** Stops listening, and closes the connections that wait for no answer. */
  closeAll(): void {
    clearInterval(this.#timer);
    for (const listener of this.#listeners) listener.close();
    for (const state of ['closing', 'idle', 'stranger'] as const) {
      // A session was closed with a reason already, and has a deadline.
      for (const { isWebSocket, socket } of this.#inState[state]) if (!isWebSocket) socket.destroy();
    }
  }

  #accept(socket: Socket): void {
    // A close follows every error, and is handled there.
    socket.on('error', () => undefined);
    // Node appends the interface to a link-local address, after a percent sign.
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
    this.#watch(connection);
    if (hasHeader) this.#readHeader(connection);
    else this.#begin(connection);
  }

  #watch(connection: Connection): void {
    const { socket } = connection;
    this.#bySocket.set(socket, connection);
    socket.once('close', () => this.#forget(connection));
    // The client has ended its side: it sends no more requests, so the connection gets a deadline.
    socket.once('end', () => this.#arm(connection));
  }

  /** Hands a connection to the HTTP server, now that its client's address is known. */
  #begin(connection: Connection): void {
    if (this.#options.secureContext !== undefined) this.#encrypt(connection, this.#options.secureContext());
    setClientAddress(connection.socket, connection.address);
    if (!this.#options.proxies.trusts(connection.address)) connection.network = networkOf(connection.address);
    this.#place(connection);
    this.#serve(connection.socket);
  }

  /** From now on the connection's bytes are encrypted. A handshake has the deadline of a stranger without a request. */
  #encrypt(connection: Connection, secureContext: SecureContext): void {
    const tcp = connection.socket;
    const secure = new TLSSocket(tcp, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] });
    setTcp(secure, tcp);
    this.#bySocket.delete(tcp);
    connection.socket = secure;
    this.#watch(connection);
    let hasBegun = false;
    secure.once('secure', () => (hasBegun = true));
    // A close follows every error, and is handled there.
    secure.on('error', () => {
      if (!hasBegun) this.#count(connection, 'tls_handshake');
    });
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
      // TLS reads past the TCP socket, which would throw away what it reads itself.
      if (connection.socket === socket) socket.resume();
    };
    socket.on('data', onData);
    socket.once('end', () => {
      if (connection.awaitsHeader) socket.destroy();
    });
  }

  /**
   * Makes room for one more connection by closing the one that has the least to lose. Returns whether there
   * is room.
   */
  #makeRoom(): boolean {
    if (this.#bySocket.size < this.#options.maxConnections) return true;
    const { closing, idle, stranger, transferring } = this.#inState;
    // A few strangers may stay: connections that came just now could not send a request yet.
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

  /** Notes a request on its connection. Returns whether the request is to be answered. */
  #asked(request: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#bySocket.get(request.socket);
    // One read may bring a thousand requests after the one for which the connection was closed.
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

  /** Finds the client for which a trusted proxy sends a request. */
  #vouch({ address }: Connection, request: IncomingMessage): void {
    const client = this.#options.proxies.clientOf(address, request.headers);
    if (client !== address) setClientAddress(request, client);
  }

  /** Puts a connection into the set of its current state, after all others. */
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

  /** Gives a connection a deadline, unless it has one. */
  #arm(connection: Connection): void {
    connection.deadline ??= setTimeout(() => this.#destroy(connection, 'never_closed'), closeTimeoutMs);
    connection.deadline.unref();
  }

  #destroy(connection: Connection, cause: CloseCause): void {
    this.#count(connection, cause);
    // The connection is forgotten now, and not only when it has closed: its room is for another one.
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
        // The answer before it on the connection has to be read first, and may be a long stream.
        this.#answers.set(response, { connection, untilMs: nowMs + this.#options.answerTimeoutMs });
        continue;
      }
      // A connection with several late answers is closed once.
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
    if (!hasAsked && socket.bytesRead > 0) this.refuse(socket, tooSlow());
    else this.close(socket);
  }
}

function tooSlow(): GatewayError {
  return new GatewayError(
    'request_timeout',
    `The request's head did not arrive within ${strangerTimeoutMs} ms.`,
  );
}
