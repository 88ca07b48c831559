import { createHash } from 'node:crypto';
import { Pool } from 'undici';
import type { Config } from '../config/schema.ts';
import type { Credential } from '../credential.ts';
import { createConnector } from './connect.ts';

/** What a pool needs to know of the configuration. */
type PoolConfig = Pick<Config, 'connectTimeoutMs' | 'maxHeaderBytes' | 'responseTimeoutMs'>;

/** More pools than this are not kept: the one that was not used for longest is closed. */
const maxPools = 256;

/**
 * Connections to providers, one pool for each origin and credential: a connection that was opened
 * for one key never carries another's request.
 */
export class ProviderPools {
  readonly #config: PoolConfig;
  /** In the order of their last use. */
  readonly #pools = new Map<string, Pool>();

  constructor(config: PoolConfig) {
    this.#config = config;
  }

  /** The pool for an origin and the credential that will be sent. */
  get(origin: string, credential: Credential): Pool {
    // Hashed, so that no key stands in memory as a map's key for as long as a pool lives.
    const digest = createHash('sha256').update(JSON.stringify(credential)).digest('base64');
    const key = `${origin} ${digest}`;
    const pool = this.#pools.get(key) ?? this.#open(origin);
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    if (this.#pools.size > maxPools) this.#closeOldest();
    return pool;
  }

  /** Ends every connection at once. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #open(origin: string): Pool {
    const { connectTimeoutMs, maxHeaderBytes, responseTimeoutMs } = this.#config;
    return new Pool(origin, {
      connections: null,
      pipelining: 1,
      // One stream a connection: pausing it then pauses this stream's socket and nobody else's.
      allowH2: false,
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: responseTimeoutMs,
      // The stream's own deadlines tell silence from backpressure and a comment from progress.
      bodyTimeout: 0,
      connect: createConnector(connectTimeoutMs),
    });
  }

  #closeOldest(): void {
    for (const [key, pool] of this.#pools) {
      this.#pools.delete(key);
      // Graceful: requests that run on it finish first.
      void pool.close().catch(() => undefined);
      return;
    }
  }
}
