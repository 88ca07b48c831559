import { randomUUID } from 'node:crypto';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { openRedisSink } from '@spillway/redis';
import { describe, test } from 'vitest';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { FailingRedis } from './support/failing-redis.ts';
import { needsRedis } from './support/redis-server.ts';
import { recordsOf } from './support/stream-engine.ts';

// Not the defaults: a machine that is busy is slow, and is no engine that fails.
const patience = { openTimeoutMs: 60_000, deadlineMs: 60_000 };
const redis = new FailingRedis();

/** A stream of its own of the Redis that runs. */
function cutEngine(): SinkEngine {
  const { url, ...failures } = redis.cutOff();
  const key = randomUUID();
  return {
    ...failures,
    open: () => openRedisSink({ url: `${url}?stream=${key}`, ...patience }),
    records: () => recordsOf(redis.server, key),
  };
}

/** One whose records are split. */
async function killedEngine(): Promise<SinkEngine> {
  const { url, ...failures } = await redis.killed();
  const key = `{${randomUUID()}}split`;
  return {
    ...failures,
    open: () => openRedisSink({ url: `${url}?stream=${key}`, maxEntryBytes: 1024, ...patience }),
    records: () => recordsOf(redis.server, key),
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

test('promise 15: Redis takes no record with an id that comes back as something else', async (context) => {
  needsRedis(context);
  await expectOddRefused(cutEngine());
});
