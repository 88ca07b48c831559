import { digest } from '../config/api-key.ts';
import type { Config } from '../config/schema.ts';
import type { Transport } from '../config/transport.ts';
import type { Credential } from '../http/headers.ts';
import type { TlsMemory } from './connect.ts';
import type { ConnectionLimits, Exchange, ReplyPool, Request, Sending } from './exchange.ts';
import { ProviderConnection } from './provider-connection.ts';
import { requestHead } from './request-head.ts';
import { SharedConnections } from './shared-connections.ts';

/** The most pools. Beyond it the pool that was not used for longest is closed. */
const maxPools = 256;

/**
 * Connections to providers, one pool for each origin and credential: a connection that was opened
 * for one key never carries another's request.
 */
export class ProviderPools {
  readonly #limits: PoolLimits;
  readonly #shared: SharedConnections;
  /** The pools by origin, transport and credential, the last used one at the end. */
  readonly #pools = new Map<string, ReplyPool>();
  #otherPool: OtherPool | undefined;

  /**
   * `onDefect` is called with an unexpected error. `otherPool` opens pools for providers with a `Transport`;
   * without it, `get` must not be called with one.
   */
  constructor(limits: PoolLimits, onDefect: (error: unknown) => void, otherPool?: OtherPool) {
    this.#limits = limits;
    this.#otherPool = otherPool;
    this.#shared = new SharedConnections(limits.maxStreams, onDefect);
  }

  /**
   * The pool for an origin and the credential that its requests carry. A provider with a `transport` gets a
   * pool of `otherPool`.
   */
  get(origin: string, credential: Credential, transport?: Transport): ReplyPool {
    // The credential is hashed: no secret is kept in memory as a map's key for as long as its pool lives.
    const secret = digest(JSON.stringify(credential)).toString('base64');
    const key = `${origin} ${transport?.id ?? ''} ${secret}`;
    const pool = this.#pools.get(key) ?? this.#open(new URL(origin), transport);
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    if (this.#pools.size > maxPools) this.#closeOldest();
    return pool;
  }

  /**
   * Opens new connections from now on: the providers may be others, or their credentials or certificates. Idle
   * connections close, the others when their request is done.
   */
  renew(otherPool: OtherPool | undefined): void {
    this.#otherPool = otherPool;
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  /** Closes every connection at once. */
  destroy(): void {
    for (const pool of this.#pools.values()) pool.destroy();
    this.#pools.clear();
  }

  #open(origin: URL, transport: Transport | undefined): ReplyPool {
    if (transport === undefined) return new ProviderPool(origin, this.#limits, this.#shared);
    if (this.#otherPool === undefined) throw new Error('there is no other reader of replies');
    return new this.#otherPool(origin, transport, this.#limits, this.#shared);
  }

  #closeOldest(): void {
    for (const [key, pool] of this.#pools) {
      this.#pools.delete(key);
      pool.close();
      return;
    }
  }
}

/** A pool that reads replies by other means than {@link ProviderConnection}. */
export type OtherPool = new (
  origin: URL,
  transport: Transport,
  limits: ConnectionLimits,
  shared: SharedConnections,
) => ReplyPool;

type PoolLimits = ConnectionLimits & Pick<Config, 'maxStreams'>;

/** The connections to one origin that the gateway reads itself, in HTTP/1.1. */
class ProviderPool implements ReplyPool {
  readonly host: string;
  readonly origin: string;
  readonly #origin: URL;
  readonly #limits: ConnectionLimits;
  readonly #tls: TlsMemory = { session: undefined };
  readonly #connections = new Set<ProviderConnection>();
  /** The idle connections. The last used one is taken first, so that the others can close. */
  readonly #free: ProviderConnection[] = [];
  readonly #shared: SharedConnections;
  #isClosed = false;

  constructor(origin: URL, limits: ConnectionLimits, shared: SharedConnections) {
    this.host = origin.host;
    this.origin = origin.origin;
    this.#shared = shared;
    this.#origin = origin;
    this.#limits = limits;
  }

  /**
   * Sends a request over an idle or a new connection. No other request uses it until the response is whole.
   */
  send(request: Request, exchange: Exchange): Sending {
    const connection = this.#takeFree() ?? this.#open();
    connection.send({ head: requestHead(request, this.host), body: request.body }, exchange);
    return connection;
  }

  makeRoom(): void {
    this.#shared.closeIdle(Infinity);
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#free.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.close();
    for (const connection of this.#connections) connection.destroy(new Error('the gateway stops'));
  }

  #takeFree(): ProviderConnection | undefined {
    for (let last = this.#free.pop(); last !== undefined; last = this.#free.pop()) {
      this.#shared.busy(last);
      if (last.isUsable) return last;
      last.destroy();
    }
    return undefined;
  }

  #open(): ProviderConnection {
    const shared = this.#shared;
    shared.opening();
    const connection = new ProviderConnection(
      this.#origin,
      this.#tls,
      this.#limits,
      (free) => {
        if (this.#isClosed) {
          free.destroy();
          return;
        }
        this.#free.push(free);
        shared.idle(free);
      },
      (closed) => {
        this.#connections.delete(closed);
        shared.closed(closed);
        const index = this.#free.indexOf(closed);
        if (index !== -1) this.#free.splice(index, 1);
      },
      shared.onDefect,
    );
    this.#connections.add(connection);
    return connection;
  }
}
