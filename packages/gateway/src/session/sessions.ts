import { subprotocol } from '@spillway/core/session';
import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { endWithError } from '../answer-error.ts';
import type { ApiKeys } from '../api-keys.ts';
import type { Provider } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Defects } from '../defects.ts';
import { GatewayError, shuttingDown } from '../errors.ts';
import type { Guard } from '../guard.ts';
import type { Meter } from '../meter.ts';
import type { Relay } from '../relay.ts';
import type { RequestMemory } from '../request-memory.ts';
import type { Paces } from '../sink/paces.ts';
import type { GatewayStream } from '../stream.ts';
import { Session } from './session.ts';
import type { SessionStream } from './session-stream.ts';

/** What sessions need of the gateway. */
export interface SessionsOptions {
  readonly config: Config;
  readonly defects: Defects;
  readonly guard: Guard;
  readonly keys: ApiKeys;
  readonly memory: RequestMemory;
  readonly paces: Paces;
  readonly providers: readonly Provider[];
  readonly relay: Relay;
  readonly meter: Meter;
  /** The stream of that token, if whoever sends these headers may read it. */
  readonly find: (token: string, headers: IncomingHttpHeaders) => GatewayStream | undefined;
  /** Whether new streams are taken. */
  readonly isReady: () => boolean;
  /** The readers that can be resumed, by the names that clients gave them. */
  readonly readers: Map<string, SessionStream>;
  readonly onClose: (session: Session) => void;
}

/** All sessions of a gateway, and the one clock that watches them. */
export class Sessions {
  readonly #sessions = new Set<Session>();
  readonly #options: SessionsOptions;
  readonly #server: WebSocketServer;
  readonly #timer: NodeJS.Timeout;

  constructor(options: Omit<SessionsOptions, 'onClose' | 'readers'>) {
    this.#options = {
      ...options,
      readers: new Map<string, SessionStream>(),
      onClose: (session) => this.#sessions.delete(session),
    };
    const { keepAliveMs, maxMessageBytes } = options.config;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // Deltas are small, and what is merged is small anyway: a compressor a connection would cost more memory than all.
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      handleProtocols: () => subprotocol,
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
    server.on('upgrade', (request, socket: Socket, head) => {
      // What is wrong with it is in the close that follows.
      socket.on('error', () => undefined);
      const open = (): void => {
        const refusal = this.#refusal(request);
        if (refusal !== undefined) {
          endWithError(socket, refusal);
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

  #refusal({ headers, url = '' }: IncomingMessage): GatewayError | undefined {
    const refusal = this.#options.guard.upgradeRefusal(headers);
    if (refusal !== undefined) return refusal;
    if (url.split('?')[0] !== '/streams') return new GatewayError('not_found', 'WebSockets are at /streams.');
    const protocols = (headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
    if (!protocols.includes(subprotocol)) {
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
