import { subprotocol } from '@spillway/core/session';
import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, WebSocketServer } from 'ws';
import { errorText } from '../server/answer-error.ts';
import type { ApiKeys } from '../access/api-keys.ts';
import type { Provider } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Defects } from '../process/defects.ts';
import { GatewayError, shuttingDown } from '../errors.ts';
import { listed } from '../http/headers.ts';
import { requestRefusal } from '../http/request-target.ts';
import type { Guard } from '../access/guard.ts';
import type { Connections } from '../http/connections.ts';
import type { RetainedStreams } from '../memory/retained-streams.ts';
import type { Meter } from '../stream/meter.ts';
import type { Relay } from '../relay/relay.ts';
import { RequestMemory } from '../memory/request-memory.ts';
import type { Paces } from '../sink/paces.ts';
import type { GatewayStream } from '../stream/stream.ts';
import { Arrivals } from './arrivals.ts';
import { Session } from './session.ts';
import type { SessionStream } from './session-stream.ts';

/** What sessions need of the gateway. */
export interface SessionsOptions {
  readonly config: Config;
  readonly defects: Defects;
  readonly guard: Guard;
  readonly keys: ApiKeys;
  readonly memory: RequestMemory;
  /** The same for what clients send that have shown no accepted key yet, all of them together. */
  readonly strangers: RequestMemory;
  readonly paces: Paces;
  readonly providers: readonly Provider[];
  readonly relay: Relay;
  readonly retained: Pick<RetainedStreams<GatewayStream>, 'keepReader'>;
  readonly meter: Meter;
  /** The stream of that token, if whoever sends these headers may read it. */
  readonly find: (token: string, headers: IncomingHttpHeaders) => GatewayStream | undefined;
  /** Whether new streams are taken. */
  readonly isReady: () => boolean;
  /** Which requests did not arrive. */
  readonly arrivals: Arrivals;
  /** The readers that can be resumed, by the names that clients gave them. */
  readonly readers: Map<string, SessionStream>;
  readonly onClose: (session: Session) => void;
  /** Called once, when a session has shown an accepted key or needs none. */
  readonly onKnown: (socket: Socket) => void;
}

/** What all strangers together may have sent that is not handled yet, if `maxRequestMemoryBytes` is not less. */
const maxStrangerBytes = 16_777_216;
/** A message in more pieces than that is refused: each costs more than its bytes. Browsers make some of 64 KiB. */
const maxFragments = 1024;
/** How long a client may take to answer a close. */
const closeTimeoutMs = 1000;

/** All sessions of a gateway, and the one clock that watches them. */
export class Sessions {
  readonly #sessions = new Set<Session>();
  readonly #connections: Connections;
  readonly #options: SessionsOptions;
  readonly #server: WebSocketServer;
  readonly #timer: NodeJS.Timeout;

  constructor({
    connections,
    ...options
  }: Omit<SessionsOptions, 'arrivals' | 'onClose' | 'onKnown' | 'readers' | 'strangers'> & {
    readonly connections: Connections;
  }) {
    this.#connections = connections;
    const { keepAliveMs, maxMessageBytes, maxRequestMemoryBytes } = options.config;
    this.#options = {
      ...options,
      strangers: new RequestMemory(Math.min(maxStrangerBytes, maxRequestMemoryBytes)),
      readers: new Map<string, SessionStream>(),
      arrivals: new Arrivals(),
      onClose: (session) => {
        this.#sessions.delete(session);
        this.#options.arrivals.closed(session, performance.now());
      },
      onKnown: (socket) => connections.known(socket),
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
      connections.close(socket, errorText(new GatewayError('invalid_request', `${message}.`)));
    });
    this.#timer = setInterval(() => this.#tick(), Math.min(1000, Math.max(25, keepAliveMs / 8)));
    this.#timer.unref();
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
          this.#connections.close(request.socket, errorText(refusal));
          return;
        }
        this.#server.handleUpgrade(request, socket, head, (webSocket) => {
          this.#sessions.add(new Session(webSocket, request, this.#options, performance.now()));
        });
      };
      this.#options.defects.contain('upgrade', open, () => socket.destroy());
    });
  }

  /** Ends all of them. */
  close(): void {
    clearInterval(this.#timer);
    for (const session of this.#sessions) {
      this.#contain(session, () => session.end('shutting_down'));
    }
  }

  #refusal(request: IncomingMessage, upgraded: Duplex): GatewayError | undefined {
    const { headers, socket, url = '' } = request;
    // Node gives something else than the connection for a request with a body.
    if (upgraded !== socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = requestRefusal(request) ?? this.#options.guard.upgradeRefusal(headers);
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
    const nowMs = performance.now();
    for (const session of this.#sessions) this.#contain(session, () => session.tick(nowMs));
  }

  #contain(session: Session, work: () => void): void {
    this.#options.defects.contain('session', work, () => session.terminate());
  }
}
