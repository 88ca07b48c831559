import type { ConnectionOptions } from 'node:tls';
import { dialRedis, within } from './dial-redis.ts';
import { readRedisUrl, shownAddress } from './redis-address.ts';
import { RedisFailure, redisFailure } from './redis-failure.ts';

/** What a Redis says of itself, as far as it says it. */
export interface RedisFacts {
  /** Its address, without a password. */
  readonly address: string;
  readonly version: string | undefined;
  /** What happens to keys when its memory is full, such as `noeviction`; `undefined`: its memory has no bound, or it does not say. */
  readonly maxmemoryPolicy: string | undefined;
  /** Whether it keeps each change on a disk (`appendonly`); `undefined`: it does not say. */
  readonly keepsChanges: boolean | undefined;
}

/**
 * Asks a Redis what it is, on a connection of its own.
 *
 * @param timeoutMs how long each step may take, in milliseconds.
 * @throws {SpillwayError} `invalid_option`, for the URL. Rejects with an error without secrets when Redis is not there.
 */
export async function readRedisFacts({
  password,
  timeoutMs = 5000,
  tls,
  url,
}: {
  readonly url: string;
  readonly password?: string | undefined;
  readonly tls?: ConnectionOptions | undefined;
  readonly timeoutMs?: number;
}): Promise<RedisFacts> {
  const read = readRedisUrl(url);
  const address = password === undefined ? read : { ...read, password };
  const shown = shownAddress(address);
  const limits = { timeoutMs, signal: new AbortController().signal };
  try {
    const client = await dialRedis({ ...limits, address, tls, onLost: () => undefined });
    try {
      const info = await within(client.sendCommand(['INFO']), limits).catch((error: unknown) => {
        // Who may not ask does not learn it. A server that is silent is none.
        if (error instanceof Error && error.message.startsWith('NOPERM')) return '';
        throw error;
      });
      const lines = String(info).split(/\r?\n/);
      const valueOf = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1);
      const aof = valueOf('aof_enabled');
      return {
        address: shown,
        version: valueOf('redis_version'),
        maxmemoryPolicy: Number(valueOf('maxmemory') ?? 0) > 0 ? valueOf('maxmemory_policy') : undefined,
        keepsChanges: aof === undefined ? undefined : aof === '1',
      };
    } finally {
      client.destroy();
    }
  } catch (error) {
    throw error instanceof RedisFailure ? error : redisFailure(shown, error, address.password);
  }
}
