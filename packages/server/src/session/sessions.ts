import { subprotocol } from '@spillway/core/session';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, WebSocketServer } from 'ws';
import { GatewayError, shuttingDown } from '../errors.ts';
import { listed } from '../http/listed.ts';
import { RequestMemory } from '../memory/request-memory.ts';
import type { Timer } from '@spillway/core/clock';
import { StreamTokens } from '../stream/stream-token.ts';
import { Arrivals } from './arrivals.ts';
import { Session, type SessionOptions } from './session.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionReader } from './session-reader.ts';

/** What all strangers together may have sent that is not handled yet, if `maxRequestMemoryBytes` is not less. */
const maxStrangerBytes = 16_777_216;
/** A message in more pieces than that is refused: each costs more than its bytes. Browsers make some of 64 KiB. */
const maxFragments = 1024;
/** How long a client may take to answer a close. */
const closeTimeoutMs = 1000;

/** Where WebSockets come in. */
export interface SessionDoor {
  /** Why a request for one is refused, for what it is addressed to or who sends it; `undefined`: it is not. */
  refusal(request: IncomingMessage): GatewayError | undefined;
  /** Answers a connection that is refused, and closes it. */
  refuse(socket: Socket, error: GatewayError): void;
  /** Its client has shown an accepted key, or needs none. */
  known(socket: Socket): void;
}

/** All sessions of a server, and the one timer that watches them. */
export class Sessions {
  readonly #sessions = new Set<Session>();
  readonly #door: SessionDoor;
  readonly #options: SessionOptions;
  readonly #server: WebSocketServer;
  readonly #timer: Timer;

  constructor({
    door,
    ...options
  }: Omit<SessionContext, 'arrivals' | 'onKnown' | 'readers' | 'strangers'> & {
    readonly door: SessionDoor;
  }) {
    this.#door = door;
    const { keepAliveMs, maxMessageBytes, maxRequestMemoryBytes } = options.config;
    this.#options = {
      ...options,
      strangers: new RequestMemory(Math.min(maxStrangerBytes, maxRequestMemoryBytes)),
      readers: new Map<string, SessionReader>(),
      arrivals: new Arrivals(),
      tokens: new StreamTokens(options.clock),
      onClose: (session) => {
        this.#sessions.delete(session);
        this.#options.arrivals.closed(session, options.clock.nowMs());
      },
      onKnown: (socket) => door.known(socket),
    };
    // The types do not know `closeTimeout` yet.
    const serverOptions: ServerOptions & { readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      // Deltas are small, and what is merged is small anyway: a compressor a connection would cost more memory than all.
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      maxFragments,
      // A session answers pings itself, when its client has taken the answers before.
      autoPong: false,
      handleProtocols: () => subprotocol,
      closeTimeout: closeTimeoutMs,
    };
    this.#server = new WebSocketServer(serverOptions);
    this.#server.on('wsClientError', ({ message }: Error, _socket, { socket }: IncomingMessage) => {
      door.refuse(socket, new GatewayError('invalid_request', `${message}.`));
    });
    const everyMs = Math.min(1000, Math.max(25, keepAliveMs / 8));
    this.#timer = options.clock.every(everyMs, () => this.#tick());
  }

  /** How many are open. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Takes the WebSockets that clients of a server ask for. */
  listen(server: Server): void {
    server.on('upgrade', (request, socket: Duplex, head) => {
      const open = (): void => {
        const refusal = this.#refusal(request, socket);
        if (refusal !== undefined) {
          this.#door.refuse(request.socket, refusal);
          return;
        }
        this.#server.handleUpgrade(request, socket, head, (webSocket) => {
          this.#sessions.add(new Session(webSocket, request, this.#options));
        });
      };
      this.#options.defects.contain('upgrade', open, () => socket.destroy());
    });
  }

  /** Ends all of them. */
  close(): void {
    this.#timer.stop();
    for (const session of this.#sessions) {
      this.#contain(session, () => session.end('shutting_down'));
    }
  }

  #refusal(request: IncomingMessage, upgraded: Duplex): GatewayError | undefined {
    const { headers, socket, url = '' } = request;
    // Node gives something else than the connection for a request with a body.
    if (upgraded !== socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = this.#door.refusal(request);
    if (refusal !== undefined) return refusal;
    if (url.split('?')[0] !== '/streams') return new GatewayError('not_found', 'WebSockets are at /streams.');
    const protocols = headers['sec-websocket-protocol'] ?? '';
    if (!listed(protocols).includes(subprotocol)) {
      return new GatewayError('invalid_request', `The subprotocol: expected ${subprotocol}.`);
    }
    if (this.#options.isReady()) return undefined;
    return shuttingDown();
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const session of this.#sessions) this.#contain(session, () => session.tick(nowMs));
  }

  #contain(session: Session, work: () => void): void {
    this.#options.defects.contain('session', work, () => session.terminate());
  }
}
