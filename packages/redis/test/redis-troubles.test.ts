import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetClaim, LeaseRequest, LimitAnswer } from '@spillway/core';
import { openRedisLimits, type RedisLimits, type RedisLimitsOptions } from '@spillway/redis';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { needsRedis, RedisServer } from './support/redis-server.ts';

const { signal } = new AbortController();
const tokens = { kind: 'budget', key: 'tokens', limit: 1000, window: 'day' } as const;
const failed = { code: 'limits_failed' };

test('promise 16: while Redis is down calls reject at once, and nothing is kept for later', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  await open(store, 'a');
  await server.kill();
  await until(() => store.problem !== undefined, 'it is known to be down');
  const before = process.memoryUsage().heapUsed;
  const beganMs = performance.now();
  for (let round = 0; round < 50; round += 1) {
    const results = await Promise.allSettled(Array.from({ length: 1000 }, () => open(store, 'b')));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
  }
  // 50,000 calls: far less than one deadline for each thousand.
  expect(performance.now() - beganMs).toBeLessThan(20_000);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
  await expect(open(store, 'b')).rejects.toMatchObject({
    ...failed,
    message: expect.stringContaining(`redis://127.0.0.1:${server.port}`),
  });
  await server.start();
  await until(() => store.problem === undefined, 'it is back');
  await expect(open(store, 'b')).resolves.toMatchObject({ isGranted: true });
});

test('promise 16: a Redis that forgot everything learns from leases that live what they have spent', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  await open(store, 'a', [claim(0, 300)]);
  await store.extend('a', 60_000, [claim(250, 300)], signal);
  await server.kill();
  await server.start();
  await until(() => store.problem === undefined, 'it is back');
  await expect(store.read([tokens], signal)).resolves.toMatchObject([{ used: 0, reserved: 0 }]);
  await expect(store.extend('a', 60_000, [claim(400, 300)], signal)).resolves.toMatchObject({
    isGranted: true,
  });
  await expect(store.read([tokens], signal)).resolves.toMatchObject([{ used: 400, reserved: 300 }]);
});

test('promise 16: scripts that were flushed are brought along again', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  await open(store, 'a');
  await server.command('SCRIPT', 'FLUSH');
  const results = await Promise.all(Array.from({ length: 20 }, (_, index) => open(store, `b${index}`)));
  expect(results.every(({ isGranted }) => isGranted)).toBe(true);
});

test('promise 16: a Redis that is silent costs a deadline, and no memory', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server, { deadlineMs: 1000, maxCalls: 500 });
  await open(store, 'a');
  server.stop();
  onTestFinished(() => server.continue());
  const beganMs = performance.now();
  const results = await Promise.allSettled(Array.from({ length: 2000 }, () => open(store, 'b')));
  expect(performance.now() - beganMs).toBeLessThan(5000);
  const messages = results.map((result) =>
    result.status === 'rejected' ? (result.reason as Error).message : 'granted',
  );
  expect(messages.filter((message) => message.includes('500 calls wait'))).toHaveLength(1500);
  expect(messages.filter((message) => message.includes('no answer within 1000 ms'))).toHaveLength(500);
  // From now on it is known.
  await expect(open(store, 'b')).rejects.toMatchObject(failed);
  // Calls that nobody waits for end the connection, too.
  server.continue();
  await until(() => store.problem === undefined, 'it speaks again');
  server.stop();
  await expect(store.read([tokens], AbortSignal.timeout(20))).rejects.toMatchObject({ name: 'TimeoutError' });
  await until(() => store.problem !== undefined, 'it is known to be silent');
  server.continue();
  await until(() => store.problem === undefined, 'it speaks again');
  await expect(open(store, 'c')).resolves.toMatchObject({ isGranted: true });
});

test('promise 16: a full Redis refuses what is new, takes ends, and works again when it has room', async (context) => {
  const server = await startRedis(context);
  const changes: (string | undefined)[] = [];
  const store = openLimits(server, { onChange: (problem) => changes.push(problem) });
  await open(store, 'a', [claim(0, 100)]);
  await server.command('CONFIG', 'SET', 'maxmemory', '1mb');
  for (let index = 0; index < 3; index += 1)
    await expect(open(store, `b${index}`)).rejects.toMatchObject({
      ...failed,
      message: expect.stringContaining('OOM'),
    });
  await store.settle('a', [claim(40, 0)], signal);
  await expect(store.read([tokens], signal)).resolves.toMatchObject([{ used: 40, reserved: 0 }]);
  expect(store.problem).toContain('OOM');
  await server.command('CONFIG', 'SET', 'maxmemory', '0');
  await until(() => store.problem === undefined, 'it takes changes');
  await expect(open(store, 'c')).resolves.toMatchObject({ isGranted: true });
  expect(changes).toEqual([expect.stringContaining('OOM'), undefined]);
});

test('promise 16: a replica that takes no changes is a failure, until it is a master', async (context) => {
  const [master, server] = [await startRedis(context), await startRedis(context)];
  const store = openLimits(server);
  await open(store, 'a');
  await server.command('REPLICAOF', '127.0.0.1', String(master.port));
  await expect(open(store, 'b')).rejects.toMatchObject({
    ...failed,
    message: expect.stringContaining('READONLY'),
  });
  await sleep(300);
  expect(store.problem).toContain('READONLY');
  await server.command('REPLICAOF', 'NO', 'ONE');
  await until(() => store.problem === undefined, 'it is a master');
  await expect(open(store, 'b')).resolves.toMatchObject({ isGranted: true });
});

test.for(['killed', 'stopped'])(
  'promise 16: sentinels name another master when one is %s',
  async (how, context) => {
    const master = await startRedis(context);
    const replica = await ownRedis(['--replicaof', '127.0.0.1', String(master.port)]);
    const sentinels: RedisServer[] = [];
    for (let index = 0; index < 3; index += 1) {
      const sentinel = await RedisServer.startSentinel(master.port, 2);
      onTestFinished(() => sentinel.remove());
      sentinels.push(sentinel);
    }
    await until(async () => {
      const known = await Promise.all(
        sentinels.map((each) => each.command('SENTINEL', 'ckquorum', 'limits').catch(() => '')),
      );
      const replicas = await Promise.all(
        sentinels.map((each) => each.command('SENTINEL', 'replicas', 'limits') as Promise<unknown[]>),
      );
      return (
        known.every((each) => String(each).startsWith('OK')) && replicas.every(({ length }) => length === 1)
      );
    }, 'the sentinels know each other and the replica');
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const store = openRedisLimits({ url: `redis+sentinel://${hosts}/limits`, deadlineMs: 2000 });
    onTestFinished(() => store.close());
    await open(store, 'a', [claim(0, 100)]);
    await master.command('WAIT', '1', '5000');
    if (how === 'killed') await master.kill();
    else master.stop();
    const beganMs = performance.now();
    await expect(open(store, 'b')).rejects.toMatchObject(failed);
    expect(performance.now() - beganMs).toBeLessThan(5000);
    await until(() => store.problem === undefined, 'the other one is the master');
    await expect(replica.command('ROLE')).resolves.toMatchObject({ 0: 'master' });
    await expect(store.extend('a', 60_000, [claim(60, 50)], signal)).resolves.toMatchObject({
      isGranted: true,
    });
    await expect(store.read([tokens], signal)).resolves.toMatchObject([{ used: 60, reserved: 50 }]);
    master.continue();
  },
);

test('a password is in no error', async (context) => {
  const server = await startRedis(context, ['--requirepass', 'right']);
  const right = openRedisLimits({ url: server.url, password: 'right' });
  onTestFinished(() => right.close());
  await expect(open(right, 'a')).resolves.toMatchObject({ isGranted: true });
  for (const url of [
    `redis://:s3cret%21@127.0.0.1:${server.port}`,
    `redis://joe:s3cret%21@127.0.0.1:${server.port}`,
  ]) {
    const wrong = openRedisLimits({ url });
    const error: unknown = await open(wrong, 'a').catch((problem: unknown) => problem);
    expect(error).toMatchObject(failed);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/s3cret/);
    expect(String(wrong.problem)).toContain('WRONGPASS');
    await wrong.close();
  }
  for (const url of [
    'redis://:s3cret@',
    'redis://:s3cret@host:99999',
    'redis://:s3cret@a,b',
    'rediss+sentinel://:s3cret@a:1',
  ])
    expect(() => openRedisLimits({ url })).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.not.stringContaining('s3cret') }),
    );
});

test('a rate that the script cannot count exactly is refused, with or without a Redis', async () => {
  const store = openRedisLimits({ url: 'redis://127.0.0.1:1' });
  onTestFinished(() => store.close());
  const rate = { kind: 'rate', key: 'requests', perSecond: 1, burst: 1 } as const;
  for (const wrong of [{ perSecond: 1e9 + 1 }, { perSecond: Infinity }, { burst: 1e9 + 1 }]) {
    const refused = { code: 'invalid_option', message: expect.stringContaining('up to 10^9') };
    const rates = [{ ...rate, ...wrong }];
    await expect(store.open({ ...lease('a'), rates }, signal)).rejects.toMatchObject(refused);
    await expect(store.read(rates, signal)).rejects.toMatchObject(refused);
  }
});

test('a server that quotes what it does not know quotes no password', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () =>
      socket.write("-ERR unknown command 'AUTH', with args beginning with: 's3cret!'\r\n"),
    );
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const store = openRedisLimits({ url: `redis://:s3cret!@127.0.0.1:${port}` });
  const error: unknown = await open(store, 'a').catch((problem: unknown) => problem);
  expect(inspect(error, { depth: 10, showHidden: true })).toContain("with: '[password]'");
  expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/s3cret/);
  await store.close();
});

test('what many silent leases had is there for the next call', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server, { deadlineMs: 5000 });
  const place = { kind: 'places', key: 'streams', limit: 1301 } as const;
  const request = { ...lease('a'), leaseMs: 1000, places: [place], budgets: [claim(0, 1, 1)] };
  const budgets = [{ ...claim(0, 1), quota: { ...tokens, limit: 1301 } }];
  // One that lives keeps the quotas: where all are silent, these go as a whole.
  await store.open({ ...request, budgets, lease: 'live', leaseMs: 60_000 }, signal);
  await Promise.all(
    Array.from({ length: 1300 }, (_, index) =>
      store.open({ ...request, budgets, lease: `a${index}` }, signal),
    ),
  );
  await expect(store.open({ ...request, budgets, lease: 'b' }, signal)).resolves.toMatchObject({
    isGranted: false,
  });
  if (server.clock.isMovable) server.clock.move(1100);
  else await sleep(1100);
  const whole = [{ ...claim(0, 1300), quota: { ...tokens, limit: 1301 } }];
  await expect(store.open({ ...request, budgets: whole, lease: 'b' }, signal)).resolves.toMatchObject({
    isGranted: true,
    reserved: [1300],
  });
  await expect(store.read([place], signal)).resolves.toMatchObject([{ used: 2 }]);
});

test('promise 16: what a lease has reserved outlives its window, whoever comes and goes meanwhile', async (context) => {
  const server = await startRedis(context);
  if (!server.clock.isMovable) context.skip('needs a C compiler, to move the clock');
  const store = openLimits(server);
  const minute = { kind: 'budget', key: 'minute', limit: 100, window: 'minute' } as const;
  server.clock.move(60_000 - ((await server.dateMs()) % 60_000));
  const reserving = { quota: minute, spent: 0, want: 30, atLeast: 30 };
  await store.open({ ...lease('a'), leaseMs: 3_600_000, budgets: [reserving] }, signal);
  await store.open({ ...lease('b'), leaseMs: 1000, budgets: [reserving] }, signal);
  await store.settle('b', [{ quota: minute, spent: 20, want: 0, atLeast: 0 }], signal);
  server.clock.move(200_000);
  await expect(store.read([minute], signal)).resolves.toMatchObject([{ used: 0, reserved: 30 }]);
});

test('large numbers are exact, and a month has its length', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  const limit = Number.MAX_SAFE_INTEGER;
  const money = { kind: 'budget', key: 'money', limit, window: { idleMs: 60_000 } } as const;
  const claims = [{ quota: money, spent: limit - 2, want: 2, atLeast: 2 }];
  await store.open({ ...lease('a'), budgets: claims }, signal);
  await expect(store.read([money], signal)).resolves.toMatchObject([{ used: limit - 2, reserved: 2 }]);
  await store.settle('a', [{ quota: money, spent: limit, want: 0, atLeast: 0 }], signal);
  await expect(store.read([money], signal)).resolves.toMatchObject([{ used: limit, reserved: 0 }]);
  if (!server.clock.isMovable) return;
  const month = { kind: 'budget', key: 'month', limit: 10, window: 'month' } as const;
  for (const date of [
    '2027-02-28T23:59:50Z',
    '2027-12-31T12:00:00Z',
    '2028-02-01T00:00:01Z',
    '2100-02-28T01:00:00Z',
  ]) {
    server.clock.move(Date.parse(date) - (await server.dateMs()));
    await store.settle(date, [{ quota: month, spent: 1, want: 0, atLeast: 0 }], signal);
    const [state] = await store.read([month], signal);
    const now = new Date(date);
    const endMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
    expect(state?.used).toBe(1);
    expect(Math.abs((state?.resetMs ?? 0) - (endMs - now.getTime()))).toBeLessThan(3000);
  }
});

test('names that a cluster would keep apart are refused', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  const own = { ...claim(0, 1), quota: { ...tokens, key: '{clinic}tokens' } };
  await expect(store.open({ ...lease('{clinic}a'), budgets: [own] }, signal)).resolves.toMatchObject({
    isGranted: true,
  });
  await expect(store.open({ ...lease('b'), budgets: [own] }, signal)).rejects.toMatchObject({
    code: 'invalid_option',
  });
  await store.renew(['{clinic}a', 'b', '{ward}c'], 60_000, signal);
  await expect(store.read([tokens, own.quota], signal)).resolves.toMatchObject([
    { reserved: 0 },
    { reserved: 1 },
  ]);
});

test('a user that came once costs a Redis less than 400 bytes, until its day is over', async (context) => {
  const server = await startRedis(context);
  const store = openLimits(server);
  // As the gateway names them.
  const key = `t:clinic:user:${'h'.repeat(22)}:tokensPerDay`;
  const quota = { kind: 'budget', key, limit: 100_000, window: 'day' } as const;
  const budgets = [{ quota, spent: 0, want: 1024, atLeast: 256 }];
  await store.open({ ...lease('1f0b4f3e-59a0-4c37-8f5c-2f1d9c0d8f11'), budgets }, signal);
  const spent = { quota, spent: 731, want: 0, atLeast: 0 };
  await store.settle('1f0b4f3e-59a0-4c37-8f5c-2f1d9c0d8f11', [spent], signal);
  const dayEndMs = (Math.floor((await server.dateMs()) / 86_400_000) + 1) * 86_400_000;
  const keys = (await server.command('KEYS', '*')) as readonly string[];
  const sizes = await Promise.all(
    keys.map(async (name) => Number(await server.command('MEMORY', 'USAGE', name))),
  );
  expect(keys.toSorted()).toEqual([expect.stringContaining('budget:'), expect.stringContaining('lease:')]);
  // The two entries of Redis's own tables, of some 70 bytes each, come on top.
  expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(400);
  for (const name of keys)
    expect(Number(await server.command('PTTL', name)) + (await server.dateMs())).toBeLessThanOrEqual(
      Math.max(dayEndMs, (await server.dateMs()) + 3_900_000) + 1000,
    );
});

function claim(spent: number, want: number, atLeast = want): BudgetClaim {
  return { quota: tokens, spent, want, atLeast };
}

function lease(name: string): LeaseRequest {
  return { lease: name, leaseMs: 60_000, rates: [], places: [], budgets: [] };
}

function open(store: RedisLimits, name: string, budgets: readonly BudgetClaim[] = []): Promise<LimitAnswer> {
  return store.open({ ...lease(name), budgets }, signal);
}

function openLimits(server: RedisServer, options: Partial<RedisLimitsOptions> = {}): RedisLimits {
  const store = openRedisLimits({ url: server.url, deadlineMs: 2000, ...options });
  onTestFinished(() => store.close());
  return store;
}

async function startRedis(
  context: Pick<TestContext, 'skip'>,
  options: readonly string[] = [],
): Promise<RedisServer> {
  needsRedis(context);
  return ownRedis(options);
}

async function ownRedis(options: readonly string[] = []): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  onTestFinished(() => server.remove());
  return server;
}
