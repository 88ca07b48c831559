import { randomUUID } from 'node:crypto';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink } from '@spillway/core/engine';
import { type SourceEngine, sourceRules } from '@spillway/core/testing';
import { openRedisSink, openRedisSource } from '@spillway/redis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { RedisProxy } from './support/redis-proxy.ts';
import { hasRedis, needsRedis, RedisServer, until } from './support/redis-server.ts';
import { entriesOf } from './support/stream-engine.ts';

const { signal } = new AbortController();
// Not the defaults: a machine that is busy is slow, and is no engine that fails.
const patience = { openTimeoutMs: 60_000, deadlineMs: 60_000 };
let server: RedisServer | undefined;
let proxy: RedisProxy | undefined;

beforeAll(async () => {
  if (!hasRedis) return;
  // Each change is on the disk before its answer, so that a kill loses nothing that was answered.
  server = await RedisServer.start(['--appendonly', 'yes', '--appendfsync', 'always']);
  proxy = await RedisProxy.start(server.port);
});

afterAll(async () => {
  await proxy?.remove();
  await server?.remove();
});

function running(): { readonly server: RedisServer; readonly proxy: RedisProxy } {
  if (server === undefined || proxy === undefined) throw new Error('expected a Redis that runs');
  return { server, proxy };
}

/** A stream of its own, which a sink fills and others trim. */
class FilledStream {
  readonly key = `{${randomUUID()}}source`;
  readonly #redis: RedisServer;
  readonly #maxEntryBytes: number | undefined;
  #sink: EngineSink | undefined;

  constructor(redis: RedisServer, maxEntryBytes?: number) {
    this.#redis = redis;
    this.#maxEntryBytes = maxEntryBytes;
  }

  async write(records: readonly SinkRecord[]): Promise<void> {
    const size = this.#maxEntryBytes === undefined ? {} : { maxEntryBytes: this.#maxEntryBytes };
    this.#sink ??= await openRedisSink({
      url: `${this.#redis.url}?stream=${this.key}`,
      ...size,
      ...patience,
    });
    await this.#sink.write(records, signal);
  }

  /** Removes the oldest so many records, with all their parts. */
  async trim(count: number): Promise<void> {
    const entries = await entriesOf(this.#redis.port, this.key);
    const lasts = entries.flatMap(({ fields }, index) =>
      Number(fields.get('part') ?? 0) + 1 === Number(fields.get('parts') ?? 1) ? [index] : [],
    );
    const left = entries.length - 1 - (lasts[count - 1] ?? -1);
    await this.#redis.command('XTRIM', this.key, 'MAXLEN', '=', String(left));
  }

  async remove(): Promise<void> {
    await this.#sink?.close();
  }
}

function cutEngine(): SourceEngine {
  const { proxy: way, server: redis } = running();
  const stream = new FilledStream(redis);
  return {
    open: (name) =>
      openRedisSource({ url: `redis://127.0.0.1:${way.port}?stream=${stream.key}`, name, ...patience }),
    write: (records) => stream.write(records),
    trim: (count) => stream.trim(count),
    fail: () => way.fail(),
    hang: () => way.hang(),
    heal: () => way.heal(),
    async openCount() {
      await until(() => way.count === 0, 'no connection').catch(() => undefined);
      return way.count;
    },
    remove: () => stream.remove(),
  };
}

async function killedEngine(): Promise<SourceEngine> {
  const { server: redis } = running();
  // A check that was ended by its deadline may have left it so.
  redis.continue();
  if (!redis.isRunning) await redis.start();
  const stream = new FilledStream(redis, 1024);
  return {
    open: (name) => openRedisSource({ url: `${redis.url}?stream=${stream.key}`, name, ...patience }),
    write: (records) => stream.write(records),
    trim: (count) => stream.trim(count),
    fail: () => redis.kill(),
    hang: () => redis.stop(),
    async heal() {
      redis.continue();
      if (!redis.isRunning) await redis.start();
    },
    remove: () => stream.remove(),
  };
}

describe.each([
  ['cut off', cutEngine, 25],
  ['killed, records split', killedEngine, 8],
])('a Redis that is %s', (name, engine, steps) => {
  for (const { check, name: rule, number } of sourceRules(() => engine(), { steps })) {
    test(`promise 15: Redis, ${name}, source rule ${number}: ${rule}`, async (context) => {
      needsRedis(context);
      await check(context);
    });
  }
});
