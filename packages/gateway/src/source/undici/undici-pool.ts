import type { TlsMemory } from '../connect.ts';
import type { ConnectionLimits, Exchange, ReplyPool, Request, Sending } from '../exchange.ts';
import type { SharedConnections } from '../shared-connections.ts';
import type { Transport } from '../../config/transport.ts';
import { UndiciCall } from './undici-call.ts';
import { UndiciConnection, type UndiciConnectionEvents } from './undici-connection.ts';

/**
 * The connections to one origin that undici reads: with HTTP/2, through a proxy, or with the gateway's own
 * certificates or authorities.
 */
export class UndiciPool implements ReplyPool {
  readonly host: string;
  readonly origin: string;
  readonly #origin: URL;
  readonly #transport: Transport;
  readonly #limits: ConnectionLimits;
  readonly #shared: SharedConnections;
  readonly #tls: TlsMemory = { session: undefined };
  readonly #connections = new Set<UndiciConnection>();
  /**
   * The connections that can take a request. The last used one is taken first, so that the others can close.
   */
  readonly #free: UndiciConnection[] = [];
  /** Requests that wait for the connection being opened: with HTTP/2 it can take them all. */
  readonly #waiting: UndiciCall[] = [];
  /** Whether the last opened connection uses HTTP/2; `undefined`: not known yet. */
  #isHttp2: boolean | undefined;
  #isClosed = false;

  constructor(origin: URL, transport: Transport, limits: ConnectionLimits, shared: SharedConnections) {
    this.host = origin.host;
    this.origin = origin.origin;
    this.#origin = origin;
    this.#transport = transport;
    this.#limits = limits;
    this.#shared = shared;
    if (!transport.http2) this.#isHttp2 = false;
  }

  send(request: Request, exchange: Exchange): Sending {
    const { onDefect } = this.#shared;
    const call = new UndiciCall(request, exchange, { limits: this.#limits, onDefect });
    this.#place(call);
    return call;
  }

  makeRoom(): void {
    this.#shared.closeIdle(Infinity);
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) if (connection.isIdle) connection.destroy();
  }

  destroy(): void {
    this.#isClosed = true;
    const error = new Error('the gateway stops');
    for (const call of this.#waiting.splice(0)) call.destroy(error);
    for (const connection of this.#connections) connection.destroy(error);
  }

  #place(call: UndiciCall): void {
    const free = this.#takeFree();
    // One connection of HTTP/2 takes many requests. Without waiting, each of these would open its own.
    if (free === undefined && this.#isHttp2 !== false && this.#isOpening()) this.#waiting.push(call);
    else this.#give(free ?? this.#open(), call);
  }

  #give(connection: UndiciConnection, call: UndiciCall): void {
    this.#shared.busy(connection);
    connection.send(call);
    if (connection.isUsable) this.#free.push(connection);
  }

  #isOpening(): boolean {
    return [...this.#connections].some(({ isOpening }) => isOpening);
  }

  #takeFree(): UndiciConnection | undefined {
    for (let last = this.#free.pop(); last !== undefined; last = this.#free.pop()) {
      if (last.isUsable) return last;
      if (last.isIdle) last.destroy();
    }
    return undefined;
  }

  #placeWaiting(): void {
    for (const call of this.#waiting.splice(0)) if (!call.isOver) this.#place(call);
  }

  #open(): UndiciConnection {
    this.#shared.opening();
    const events: UndiciConnectionEvents = {
      onOpen: (connection) => {
        this.#isHttp2 = connection.isHttp2;
        this.#placeWaiting();
      },
      onFree: (connection) => this.#freed(connection),
      onClose: (connection, error) => this.#closed(connection, error),
      onDefect: this.#shared.onDefect,
    };
    const connection = new UndiciConnection(this.#origin, {
      transport: this.#transport,
      tls: this.#tls,
      limits: this.#limits,
      events,
    });
    this.#connections.add(connection);
    return connection;
  }

  #freed(connection: UndiciConnection): void {
    if (connection.isOpening && connection.isIdle) {
      // The request that this connection was opened for has ended: the next waiting one gets it.
      const next = this.#waiting.find(({ isOver }) => !isOver);
      if (next === undefined) {
        connection.destroy();
        return;
      }
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#give(connection, next);
      return;
    }
    if (this.#isClosed && connection.isIdle) {
      connection.destroy();
      return;
    }
    if (connection.isUsable && !this.#free.includes(connection)) this.#free.push(connection);
    if (connection.isIdle) this.#shared.idle(connection);
    if (!connection.isOpening) this.#placeWaiting();
  }

  #closed(connection: UndiciConnection, error: Error | undefined): void {
    this.#connections.delete(connection);
    this.#shared.closed(connection);
    const index = this.#free.indexOf(connection);
    if (index !== -1) this.#free.splice(index, 1);
    if (error === undefined) this.#placeWaiting();
    // The connection could not be opened: the requests that waited for it fail.
    else for (const call of this.#waiting.splice(0)) call.destroy(error);
  }
}
