import { randomUUID } from 'node:crypto';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { openRedisSink } from '@spillway/redis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { RedisProxy } from './support/redis-proxy.ts';
import { hasRedis, needsRedis, RedisServer, until } from './support/redis-server.ts';
import { recordsOf } from './support/stream-engine.ts';

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

/** A stream of its own of the Redis that runs. It fails when connections are cut, and is silent when they are held. */
function cutEngine(): SinkEngine {
  const { proxy: way, server: redis } = running();
  const key = randomUUID();
  return {
    open: () => openRedisSink({ url: `redis://127.0.0.1:${way.port}?stream=${key}`, ...patience }),
    records: () => recordsOf(redis, key),
    fail: () => way.fail(),
    hang: () => way.hang(),
    heal: () => way.heal(),
    async openCount() {
      await until(() => way.count === 0, 'no connection').catch(() => undefined);
      return way.count;
    },
  };
}

/** Fails when the Redis is killed, and is silent when it is stopped; records are split. */
async function killedEngine(): Promise<SinkEngine> {
  const { server: redis } = running();
  // A check that was ended by its deadline may have left it so.
  redis.continue();
  if (!redis.isRunning) await redis.start();
  const key = `{${randomUUID()}}split`;
  return {
    open: () =>
      openRedisSink({
        url: `redis://127.0.0.1:${redis.port}?stream=${key}`,
        maxEntryBytes: 1024,
        ...patience,
      }),
    records: () => recordsOf(redis, key),
    fail: () => redis.kill(),
    hang: () => redis.stop(),
    async heal() {
      redis.continue();
      if (!redis.isRunning) await redis.start();
    },
  };
}

describe.each([
  ['cut off', cutEngine, 25],
  ['killed, records split', killedEngine, 8],
])('a Redis that is %s', (name, engine, steps) => {
  for (const { check, name: rule, number } of sinkRules(() => engine(), { steps })) {
    test(`promise 15: Redis, ${name}, sink rule ${number}: ${rule}`, async (context) => {
      needsRedis(context);
      await check(context);
    });
  }
});
