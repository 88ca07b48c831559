import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { needsRedis, RedisServer } from '../../redis/test/support/redis-server.ts';
import { openKeyFile } from '../src/keys/key-file.ts';
import { openRedisKeyStore } from '../src/keys/redis-key-store.ts';
import { type KeyEngine, keyStoreRules, someKey } from './support/key-store-rules.ts';
import { temporaryFolder } from './support/prometheus.ts';

const key = 'spillway:keys';

interface RedisEngine extends KeyEngine {
  readonly redis: RedisServer;
}

async function redisEngine(context: TestContext, options: readonly string[] = []): Promise<RedisEngine> {
  needsRedis(context);
  const redis = await RedisServer.start(options);
  onTestFinished(() => redis.remove());
  return {
    redis,
    place: redis.url,
    open: () => openRedisKeyStore({ url: redis.url, password: undefined }),
    text: async () => ((await redis.command('HGET', key, 'text')) ?? '') as string,
    write: async (text) => void (await redis.command('HSET', key, 'text', text)),
  };
}

function fileEngine(): KeyEngine {
  const path = join(temporaryFolder(), 'keys');
  return {
    place: path,
    open: () => openKeyFile(path),
    text: async () => (existsSync(path) ? readFileSync(path, 'utf8') : ''),
    write: async (text) => writeFileSync(path, text),
  };
}

describe('keys in a file', () => {
  for (const { check, name, number } of keyStoreRules)
    test(`rule ${number} of a store of keys: ${name}`, async () => await check(fileEngine()));
});

describe('keys in a Redis', () => {
  for (const { check, name, number } of keyStoreRules)
    test(`rule ${number} of a store of keys: ${name}`, async (context) =>
      await check(await redisEngine(context)));

  test('what is refused changes nothing, and is said without the password', async (context) => {
    const { open, redis, text } = await redisEngine(context);
    await open().update(() => [someKey('a')]);
    const before = await text();
    const expectRefusal = async (
      words: string,
      settings = { url: redis.url, password: '' },
    ): Promise<void> => {
      const store = settings.password === '' ? open() : openRedisKeyStore(settings);
      await expect(store.update(() => [someKey('b')])).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringContaining(words),
      });
    };
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await expectRefusal('OOM');
    await expect(open().list()).resolves.toHaveLength(1);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await redis.command('REPLICAOF', '127.0.0.1', '1');
    await expectRefusal('READONLY');
    await expect(open().list()).resolves.toHaveLength(1);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    await expect(text()).resolves.toBe(before);
    await redis.command('DEL', key);
    await redis.command('SET', key, 'something else');
    await expectRefusal('WRONGTYPE');
    await expect(redis.command('GET', key)).resolves.toBe('something else');
    await redis.command('CONFIG', 'SET', 'requirepass', 'right');
    const wrong = openRedisKeyStore({ url: redis.url, password: 'wrong-secret' });
    const refusal = await wrong.list().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'config_invalid', message: expect.stringContaining('WRONGPASS') });
    expect(String(refusal)).not.toContain('wrong-secret');
    await redis.kill();
    await expectRefusal('ECONNREFUSED');
  });

  test('bytes that are no text are not written back as others', async (context) => {
    const { open, redis } = await redisEngine(context);
    await redis.command('EVAL', `redis.call('HSET', KEYS[1], 'text', '# \\255\\n')`, '1', key);
    await expect(open().list()).rejects.toThrow('expected keys as text in UTF-8');
    await expect(open().update(() => [someKey('a')])).rejects.toThrow('expected keys as text in UTF-8');
    await expect(redis.command('HSTRLEN', key, 'text')).resolves.toBe(4);
  });

  test('a change whose answer is late is made once, also where Redis was silent for seconds', async (context) => {
    const { open, redis } = await redisEngine(context);
    const added = someKey('a');
    let calls = 0;
    await open().update(() => {
      calls += 1;
      redis.stop();
      setTimeout(() => redis.continue(), 3000);
      return [added];
    });
    expect(calls).toBe(1);
    await expect(open().list()).resolves.toMatchObject([{ name: 'a' }]);
    await open().update(() => [someKey('b')]);
    await expect(open().list()).resolves.toHaveLength(2);
  });

  test('where no answer comes, it is said that it is not known', async (context) => {
    const { open, redis } = await redisEngine(context);
    // The script is there, so that what is sent once is carried out when Redis goes on.
    await open().update(() => [someKey('known')]);
    const change = open().update(() => {
      redis.stop();
      return [someKey('a')];
    });
    await expect(change).rejects.toMatchObject({
      name: 'SpillwayError',
      code: 'config_invalid',
      message: expect.stringContaining('whether it was replaced is not known'),
    });
    redis.continue();
    await until(async () => (await open().list()).length > 1, 'the key is there');
    await expect(open().list()).resolves.toMatchObject([{ name: 'known' }, { name: 'a' }]);
  });
});
