import { subprotocol } from '@spillway/core/session';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, WebSocketServer } from 'ws';
import { GatewayError, shuttingDown } from '../errors.ts';
import { listed } from '../http/listed.ts';
import { requestIdHeader, requestIdOf } from '../http/request-id.ts';
import { RequestMemory } from '../memory/request-memory.ts';
import type { Timer } from '@spillway/core/clock';
import { StreamTokens } from '../stream/stream-token.ts';
import { Arrivals } from './arrivals.ts';
import { Session, type SessionOptions } from './session.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionReader } from './session-reader.ts';

/**
 * The bytes that all strangers together may have sent and that are not handled yet, if `maxRequestMemoryBytes` is not
 * less.
 */
const maxStrangerBytes = 16_777_216;
/** The most fragments of a message: each costs more memory than its bytes. Browsers make fragments of 64 KiB. */
const maxFragments = 1024;
/** Where sessions are. */
const sessionPath = '/streams';
/** How long a client may take to answer a close frame. */
const closeTimeoutMs = 1000;

/** A session with more untaken bytes than this counts as one that does not keep up: a reader's window is less. */
const largeBytes = 262_144;

/** The bytes that were written to sessions and that their connections have not taken. */
export interface UntakenBytes {
  /** Of the session that has most. */
  readonly maxBytes: number;
  readonly totalBytes: number;
  /** The sessions with more than 256 KiB. */
  readonly largeSessions: number;
}

/** Where WebSockets enter a server. */
export interface SessionDoor {
  /** Why an upgrade request is refused, by its address or its sender; `undefined`: it is accepted. */
  refusal(request: IncomingMessage): GatewayError | undefined;
  /** Answers a refused upgrade request with the error, and closes its connection. */
  refuse(request: IncomingMessage, error: GatewayError): void;
  /** The client on that socket has shown an accepted key, or needs none. */
  known(socket: Socket): void;
}

/** WebSockets of other parts of a server. */
export interface OtherSockets {
  /** Their paths. */
  readonly paths: readonly string[];
  /** Takes an upgrade request that is for one of them. Returns whether it was. */
  readonly take: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean;
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
      // Deltas are small, and merged ones too. A compressor for each connection would cost more memory than all of
      // them.
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      maxFragments,
      // A session answers pings itself, once its client has taken the earlier answers.
      autoPong: false,
      handleProtocols: () => subprotocol,
      closeTimeout: closeTimeoutMs,
    };
    this.#server = new WebSocketServer(serverOptions);
    this.#server.on('wsClientError', ({ message }: Error, _socket, request: IncomingMessage) => {
      door.refuse(request, new GatewayError('invalid_request', `${message}.`));
    });
    this.#server.on('headers', (headers, request) => {
      const id = requestIdOf(request);
      if (id !== undefined) headers.push(`${requestIdHeader}: ${id}`);
    });
    const everyMs = Math.min(1000, Math.max(25, keepAliveMs / 8));
    this.#timer = options.clock.every(everyMs, () => this.#tick());
  }

  /** The number of open sessions. */
  get size(): number {
    return this.#sessions.size;
  }

  /** What the connections have not taken of what was written to them. Looks at every session: only for who asks. */
  untaken(): UntakenBytes {
    let maxBytes = 0;
    let totalBytes = 0;
    let largeSessions = 0;
    for (const { untakenBytes } of this.#sessions) {
      maxBytes = Math.max(maxBytes, untakenBytes);
      totalBytes += untakenBytes;
      if (untakenBytes > largeBytes) largeSessions += 1;
    }
    return { maxBytes, totalBytes, largeSessions };
  }

  /**
   * Accepts the WebSockets that clients of a server ask for. `elsewhere` is asked first: with `true`, the upgrade is for
   * another part of the server, which has it from then on. Its paths are told to who asks for one that nobody has.
   */
  listen(server: Server, elsewhere?: OtherSockets): void {
    server.on('upgrade', (request, socket: Duplex, head) => {
      const open = (): void => {
        if (elsewhere?.take(request, socket, head) === true) return;
        const refusal = this.#refusal(request, socket, elsewhere?.paths);
        if (refusal !== undefined) {
          this.#door.refuse(request, refusal);
          return;
        }
        this.#server.handleUpgrade(request, socket, head, (webSocket) => {
          this.#sessions.add(new Session(webSocket, request, this.#options));
        });
      };
      this.#options.defects.contain('upgrade', open, () => socket.destroy());
    });
  }

  /** Ends all sessions. */
  close(): void {
    this.#timer.stop();
    for (const session of this.#sessions) {
      this.#contain(session, () => session.close('shutting_down'));
    }
  }

  #refusal(
    request: IncomingMessage,
    upgraded: Duplex,
    otherPaths: readonly string[] = [],
  ): GatewayError | undefined {
    const { headers, socket, url = '' } = request;
    // An upgrade request with a body gets a stream from Node that is not the connection.
    if (upgraded !== socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = this.#door.refusal(request);
    if (refusal !== undefined) return refusal;
    if (url.split('?')[0] !== sessionPath) {
      return new GatewayError('not_found', `WebSockets are at ${[sessionPath, ...otherPaths].join(', ')}.`);
    }
    const protocols = headers['sec-websocket-protocol'] ?? '';
    if (!listed(protocols).includes(subprotocol)) {
      return new GatewayError('invalid_request', `The subprotocol: expected ${subprotocol}.`);
    }
    return this.#options.isStopping() ? shuttingDown() : undefined;
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const session of this.#sessions) this.#contain(session, () => session.tick(nowMs));
  }

  #contain(session: Session, work: () => void): void {
    this.#options.defects.contain('session', work, () => session.destroy());
  }
}
