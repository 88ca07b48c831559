import { limitRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { RedisLimitEngine } from './support/redis-limit-engine.ts';
import { hasRedis, needsRedis, RedisServer } from './support/redis-server.ts';

describe.each([
  ['Redis', []],
  // What a script may touch in a cluster is checked by each of its servers.
  ['one of a cluster', ['--cluster-enabled', 'yes']],
])('on %s', (_name, options) => {
  let server: RedisServer | undefined;

  beforeAll(async () => {
    // Each change is written before its answer, so that a kill loses nothing that was answered.
    if (hasRedis) server = await RedisServer.start([...options, '--appendonly', 'yes']);
  });

  afterAll(async () => {
    await server?.remove();
  });

  for (const { number, name, check } of limitRules(() => new RedisLimitEngine(running()), { steps: 300 })) {
    test(`promise 16: limit rule ${number}: ${name}`, async (context) => {
      needsRedis(context);
      await check(context);
    });
  }

  function running(): RedisServer {
    if (server === undefined) throw new Error('expected a Redis that runs');
    return server;
  }
});
