import { digest } from '../api-keys.ts';
import type { Config } from '../config/schema.ts';
import type { Credential } from '../credential.ts';
import type { TlsMemory } from './connect.ts';
import {
  type ConnectionLimits,
  type Exchange,
  ProviderConnection,
  type Request,
} from './provider-connection.ts';

/** More pools than this are not kept: the one that was not used for longest is closed. */
const maxPools = 256;

/**
 * Connections to providers, one pool for each origin and credential: a connection that was opened
 * for one key never carries another's request.
 */
export class ProviderPools {
  readonly #limits: ConnectionLimits;
  /** In the order of their last use. */
  readonly #pools = new Map<string, ProviderPool>();

  constructor(config: Pick<Config, 'connectTimeoutMs' | 'maxHeaderBytes' | 'responseTimeoutMs'>) {
    this.#limits = config;
  }

  /** The pool for an origin and the credential that will be sent. */
  get(origin: string, credential: Credential): ProviderPool {
    // Hashed, so that no key stands in memory as a map's key for as long as a pool lives.
    const key = `${origin} ${digest(JSON.stringify(credential)).toString('base64')}`;
    const pool = this.#pools.get(key) ?? new ProviderPool(new URL(origin), this.#limits);
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    if (this.#pools.size > maxPools) this.#closeOldest();
    return pool;
  }

  /** Ends every connection at once. */
  destroy(): void {
    for (const pool of this.#pools.values()) pool.destroy();
    this.#pools.clear();
  }

  #closeOldest(): void {
    for (const [key, pool] of this.#pools) {
      this.#pools.delete(key);
      pool.close();
      return;
    }
  }
}

/** The connections to one origin, with as many requests at once as are wanted. */
export class ProviderPool {
  /** What the `Host` header says. */
  readonly host: string;
  readonly #origin: URL;
  readonly #limits: ConnectionLimits;
  readonly #tls: TlsMemory = { session: undefined };
  readonly #connections = new Set<ProviderConnection>();
  /** Those without a request; the last one used comes first, so that the others can close. */
  readonly #free: ProviderConnection[] = [];
  #isClosed = false;

  constructor(origin: URL, limits: ConnectionLimits) {
    this.host = origin.host;
    this.#origin = origin;
    this.#limits = limits;
  }

  /** Sends a request over a connection that is its own until the response was whole. */
  send(request: Request, exchange: Exchange): ProviderConnection {
    const connection = this.#takeFree() ?? this.#open();
    connection.send(request, exchange);
    return connection;
  }

  /** Takes no connection back; requests that run finish first. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#free.splice(0)) connection.destroy();
  }

  /** Ends every connection at once. */
  destroy(): void {
    this.close();
    for (const connection of this.#connections) connection.destroy(new Error('the gateway stops'));
  }

  #takeFree(): ProviderConnection | undefined {
    for (let last = this.#free.pop(); last !== undefined; last = this.#free.pop()) {
      if (last.isUsable) return last;
      last.destroy();
    }
    return undefined;
  }

  #open(): ProviderConnection {
    const connection = new ProviderConnection(
      this.#origin,
      this.#tls,
      this.#limits,
      (free) => {
        if (this.#isClosed) free.destroy();
        else this.#free.push(free);
      },
      (closed) => {
        this.#connections.delete(closed);
        const index = this.#free.indexOf(closed);
        if (index !== -1) this.#free.splice(index, 1);
      },
    );
    this.#connections.add(connection);
    return connection;
  }
}
