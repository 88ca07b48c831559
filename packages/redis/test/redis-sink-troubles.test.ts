import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink, RefusedRecords } from '@spillway/core/engine';
import { openRedisSink, openRedisSource, type RedisSinkOptions } from '@spillway/redis';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { passTime } from '../../core/test/support/pass-time.ts';
import { until } from '../../core/test/support/until.ts';
import { needsRedis, RedisServer } from './support/redis-server.ts';
import { entriesOf, recordsOf } from './support/stream-engine.ts';

const { signal } = new AbortController();
const failed = { code: 'sink_failed' };
const synced = ['--appendonly', 'yes', '--appendfsync', 'always'];

test.for([
  ['appendonly no', [], '', 'memory', 'appendonly is no'],
  ['appendfsync everysec', ['--appendonly', 'yes'], '', 'memory', 'appendfsync is everysec'],
  ['appendfsync always', synced, '', 'fsync', 'appendfsync is always'],
  [
    'a log that is not synced while it is rewritten',
    [...synced, '--no-appendfsync-on-rewrite', 'yes'],
    '',
    'memory',
    'no-appendfsync-on-rewrite is yes',
  ],
  ['wait', [], '?wait=1', 'replicated', 'wait=1'],
] as const)(
  'promise 15: a grade is what Redis is configured to: %s',
  async ([, settings, query, grade, why], context) => {
    const server = await startRedis(context, settings);
    const sink = await openSink({ url: `${server.url}${query}` });
    expect(sink.durability).toBe(grade);
    expect(sink.facts.durability).toContain(why);
    expect(sink.facts.engine).toMatch(/^(?:Redis|Valkey) \d+\.\d+/);
    expect(sink.facts.warnings.some((each) => each.includes('appendonly yes'))).toBe(
      grade === 'memory' && !settings.some((setting) => setting === '--no-appendfsync-on-rewrite'),
    );
  },
);

test('a wrong password, and rights that are too few, are told from a Redis that is away', async (context) => {
  const server = await startRedis(context);
  await server.command('ACL', 'SETUSER', 'few', 'on', '>few', '~*', '+ping');
  await server.command('ACL', 'SETUSER', 'all', 'on', '>right', '~*', '+@all');
  const url = server.url.replace('//', '//all:right@');
  await openSink({ url });
  const wrong = openRedisSink({ url: url.replace('right', 'wr0ng') });
  await expect(wrong).rejects.toMatchObject({ ...failed, isDenied: true });
  await expect(wrong).rejects.toThrow(/WRONGPASS.* waiting does not/);
  const few = openRedisSink({ url: server.url.replace('//', '//few:few@') });
  await expect(few).rejects.toMatchObject({ ...failed, isDenied: true });
  // Whoever may read and not write is told at the opening, and so by a trial, and not by its first write.
  for (const [rights, told] of [
    ['~* +@all -xadd', 'XADD with the key spillway'],
    ['~spillway +@all', 'access one of the keys'],
    ['%R~* +@all', 'access one of the keys'],
    ['~* +@all -evalsha', 'evalsha'],
  ] as const) {
    await server.command('ACL', 'SETUSER', 'few', 'reset', 'on', '>few', ...rights.split(' '));
    const opening = openRedisSink({ url: server.url.replace('//', '//few:few@'), isTrial: true });
    await expect(opening).rejects.toMatchObject({ ...failed, isDenied: true });
    await expect(opening).rejects.toThrow(told);
  }
  await server.command('ACL', 'SETUSER', 'few', 'reset', 'on', '>few', '~spillway', '~{spillway}:*');
  await server.command(
    'ACL',
    'SETUSER',
    'few',
    '+type',
    '+evalsha',
    '+eval',
    '+xadd',
    '+exists',
    '+get',
    '+set',
    '+mget',
  );
  const just = await openSink({ url: server.url.replace('//', '//few:few@') });
  expect(await server.command('DBSIZE')).toBe(0);
  await just.write(recordsFrom('a', 0, 1), signal);
  await server.kill();
  await expect(openRedisSink({ url })).rejects.not.toHaveProperty('isDenied');
});

test('promise 15: what Redis does not tell is not claimed', async (context) => {
  const server = await startRedis(context, synced);
  await server.command('ACL', 'SETUSER', 'writer', 'on', '>s3cret', '~*', '+@all', '-config');
  const sink = await openSink({ url: `redis://writer:s3cret@127.0.0.1:${server.port}` });
  expect(sink.durability).toBe('memory');
  expect(sink.facts.warnings).toContainEqual(expect.stringContaining('CONFIG GET is not allowed'));
  expect(inspect(sink, { depth: 5, showHidden: true }).match(/address.*/)?.[0]).not.toContain('s3cret');
  expect(sink.address).toBe(`redis://127.0.0.1:${server.port} (stream spillway)`);
  await sink.write(recordsFrom('a', 0, 1), signal);
});

test('promise 15: a Redis that becomes less while it is connected says so to a write within 5 s', async (context) => {
  const server = await startRedis(context, synced);
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 1), signal);
  await server.command('CONFIG', 'SET', 'appendonly', 'no');
  // The answer that there is does for a while.
  await sink.write(recordsFrom('a', 1, 1), signal);
  expect(sink.durability).toBe('fsync');
  passTime(5001);
  await sink.write(recordsFrom('a', 2, 1), signal);
  expect(sink.durability).toBe('memory');
  expect(sink.facts.durability).toContain('appendonly is no');
  // Nothing is claimed from when it may not be asked any more.
  await server.command('CONFIG', 'SET', 'appendonly', 'yes');
  passTime(5001);
  await sink.write(recordsFrom('a', 3, 1), signal);
  expect(sink.durability).toBe('fsync');
  await server.command('ACL', 'SETUSER', 'default', '-config');
  passTime(5001);
  await sink.write(recordsFrom('a', 4, 1), signal);
  expect(sink.durability).toBe('memory');
  expect(await namesIn(server)).toEqual(['a 0', 'a 1', 'a 2', 'a 3', 'a 4']);
});

test('promise 15: a Redis that comes back without its stream is said to have forgotten it, each time', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  for (const times of [1, 2]) {
    await sink.write(recordsFrom('a', times, 1), signal);
    await server.kill();
    await server.start();
    await sink.write(recordsFrom('a', times + 1, 1), signal);
    expect(sink.facts.forgot).toEqual({
      times,
      why: expect.stringContaining('stream spillway was not there any more'),
    });
  }
});

test.for([['FLUSHALL'], ['DEL', 'spillway'], ['RENAME', 'spillway', 'other']] as const)(
  'promise 15: a stream that is lost while it is written to is told with the next write, by each writer: %s',
  async (loss, context) => {
    const server = await startRedis(context);
    const sink = await openSink({ url: server.url });
    const other = await openSink({ url: server.url });
    await sink.write(recordsFrom('a', 0, 3), signal);
    await other.write(recordsFrom('b', 0, 3), signal);
    await sink.write(recordsFrom('a', 3, 1), signal);
    expect([sink.facts.forgot, other.facts.forgot]).toEqual([undefined, undefined]);
    await server.command(...loss);
    // Also one that adds nothing, and the one that finds a stream again.
    for (const seq of [3, 4, 5]) await sink.write(recordsFrom('a', seq, 1), signal);
    expect(sink.facts.forgot).toEqual({ times: 1, why: expect.stringContaining('was made anew') });
    // By then there is more than the other one has ever seen.
    await sink.write(recordsFrom('a', 6, 20), signal);
    await other.write(recordsFrom('b', 3, 1), signal);
    await other.write(recordsFrom('b', 4, 1), signal);
    expect(other.facts.forgot).toEqual({ times: 1, why: expect.stringContaining('was made anew') });
  },
);

test.for<readonly [string, ...(readonly string[])[]]>([
  ['XADD', ['XADD', 'spillway', '*', 'x', 'y']],
  ['XADD of as many', ...Array.from({ length: 9 }, () => ['XADD', 'spillway', '*', 'x', 'y'])],
  ['XADD with a low id', ['XADD', 'spillway', '1-1', 'x', 'y']],
  ['XGROUP', ['XGROUP', 'CREATE', 'spillway', 'other', '0', 'MKSTREAM']],
  ['a source that is opened'],
])(
  'promise 15: a stream that was lost and made again by another program is told: %s',
  async ([, ...made], context) => {
    const server = await startRedis(context);
    const sink = await openSink({ url: server.url });
    const other = await openSink({ url: server.url });
    for (const seq of [0, 1, 2]) await sink.write(recordsFrom('a', seq, 1), signal);
    await other.write(recordsFrom('b', 0, 2), signal);
    for (const times of [1, 2]) {
      await server.command('DEL', 'spillway');
      for (const words of made) await server.command(...words);
      if (made.length === 0) {
        const source = await openRedisSource({ url: server.url, name: `reader${times}` });
        await source.close();
      }
      // It is looked at within 5 s: what is written until then does not hide it.
      await sink.write(recordsFrom('a', 10 * times, 3), signal);
      passTime(5001);
      await sink.write(recordsFrom('a', 10 * times + 3, 1), signal);
      await sink.write(recordsFrom('a', 10 * times + 4, 1), signal);
      expect(sink.facts.forgot).toEqual({ times, why: expect.stringContaining('was made anew') });
      passTime(5001);
      for (const seq of [0, 1, 2]) await other.write(recordsFrom('b', 10 * times + seq, 1), signal);
      expect(other.facts.forgot).toEqual({ times, why: expect.stringContaining('was made anew') });
      for (const seq of [5, 6]) {
        await sink.write(recordsFrom('a', 10 * times + seq, 1), signal);
        passTime(5001);
      }
      expect(sink.facts.forgot?.times).toBe(times);
    }
  },
);

test('promise 15: a stream that was trimmed, emptied or restarted is not said to be lost', async (context) => {
  const server = await startRedis(context, synced);
  const sink = await openSink({ url: server.url });
  let seq = 0;
  const write = async (count = 3): Promise<void> => {
    passTime(5001);
    await sink.write(recordsFrom('a', seq, count), signal);
    seq += count;
    expect(sink.facts.forgot).toBeUndefined();
  };
  const ids = async (): Promise<readonly string[]> =>
    (await entriesOf(server.port, 'spillway')).map(({ id }) => id);
  for (const words of [
    ['XADD', 'spillway', '*', 'x', 'y'],
    ['XTRIM', 'spillway', 'MAXLEN', '=', '1'],
    ['XTRIM', 'spillway', 'MAXLEN', '=', '0'],
    ['BGREWRITEAOF'],
  ]) {
    await write();
    await server.command(...words);
    await write();
  }
  // The last one alone, all others, and all of them one by one.
  await server.command('XDEL', 'spillway', (await ids()).at(-1) ?? '');
  await write();
  await server.command('XDEL', 'spillway', ...(await ids()));
  await server.command('XADD', 'spillway', '*', 'x', 'y');
  await write();
  await until(async () => /aof_rewrite_in_progress:0/.test(String(await server.command('INFO'))), 'the log');
  await server.kill();
  await server.start();
  await write();
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '0');
  await server.command('BGREWRITEAOF');
  await until(async () => /aof_rewrite_in_progress:0/.test(String(await server.command('INFO'))), 'the log');
  await server.kill();
  await server.start();
  await write(1);
  await write(1);
});

test('promise 15: whoever may not ask what a stream is can write, and is warned', async (context) => {
  const server = await startRedis(context);
  await server.command('ACL', 'SETUSER', 'few', 'on', '>few', '~*', '+@all', '-xinfo');
  const sink = await openSink({ url: server.url.replace('//', '//few:few@') });
  expect(sink.facts.warnings).toContainEqual(expect.stringContaining('XINFO is not allowed'));
  for (const seq of [0, 1]) await sink.write(recordsFrom('a', seq, 1), signal);
  expect(await namesIn(server)).toEqual(['a 0', 'a 1']);
  const other = await openSink({ url: server.url });
  expect(other.facts.warnings).not.toContainEqual(expect.stringContaining('XINFO'));
});

test('promise 15: a Redis that comes back with an older copy of its stream is said to have forgotten', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 3), signal);
  await server.command('SAVE');
  await sink.write(recordsFrom('a', 3, 2), signal);
  await server.kill();
  await server.start();
  await sink.write(recordsFrom('a', 5, 1), signal);
  expect(sink.facts.forgot).toEqual({
    times: 1,
    why: expect.stringContaining('had 5 entries of its writers and has gone back to 3'),
  });
  // What is trimmed or removed is not lost, and neither is a stream that has become empty.
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '0');
  await sink.write(recordsFrom('a', 6, 1), signal);
  expect(sink.facts.forgot?.times).toBe(1);
});

test('promise 15: with wait a write counts when a replica has it, also one that is written again', async (context) => {
  const master = await startRedis(context);
  const url = `${master.url}?wait=1`;
  const sink = await openSink({ url, deadlineMs: 1000 });
  expect(sink.facts.warnings).toContainEqual(expect.stringContaining('0 replicas are connected'));
  const written = recordsFrom('a', 0, 3);
  await expect(sink.write(written, signal)).rejects.toMatchObject({
    ...failed,
    message: expect.stringContaining('expected 1 replicas to have the records within 1000 ms, got 0'),
  });
  // By another connection, and nothing is added: it counts all the same only when the replica has it.
  const again = await openSink({ url, deadlineMs: 1000 });
  await expect(again.write(written, signal)).rejects.toMatchObject(failed);
  const replica = await ownRedis(['--replicaof', '127.0.0.1', String(master.port)]);
  await until(() => hasAll(replica), 'the replica has all');
  await again.write(written, signal);
  expect(await recordsOf(replica, 'spillway')).toHaveLength(3);
});

test('promise 15: a Redis that is away at the start, and later, and comes back', async (context) => {
  const server = await startRedis(context, synced);
  const url = `redis://:s3cret@127.0.0.1:${server.port}`;
  await server.kill();
  const error: unknown = await openRedisSink({ url }).catch((problem: unknown) => problem);
  expect(error).toMatchObject({ ...failed, message: expect.stringContaining('ECONNREFUSED') });
  expect(inspect(error, { depth: 5, showHidden: true })).not.toContain('s3cret');
  await server.start();
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 2), signal);
  await server.kill();
  for (let round = 0; round < 3; round += 1)
    await expect(sink.write(recordsFrom('a', 2, 2), signal)).rejects.toMatchObject(failed);
  await server.start();
  await sink.write(recordsFrom('a', 2, 2), signal);
  expect(await namesIn(server)).toEqual(['a 0', 'a 1', 'a 2', 'a 3']);
});

test('promise 15: an answer that does not come costs a deadline, and what Redis does later adds nothing twice', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url, deadlineMs: 300 });
  await sink.write(recordsFrom('a', 0, 1), signal);
  server.stop();
  for (let round = 0; round < 3; round += 1)
    await expect(sink.write(recordsFrom('a', 1, 2), signal)).rejects.toMatchObject({
      ...failed,
      message: expect.stringMatching(/no (?:answer|connection) within/),
    });
  server.continue();
  await sink.write(recordsFrom('a', 1, 2), signal);
  // All that was sent before has been done by now, in whatever order.
  await server.command('PING');
  expect(await namesIn(server)).toEqual(['a 0', 'a 1', 'a 2']);
});

test('promise 15: a connection that is given up while it is made does not stay', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  server.stop();
  // A call that is under way ends the connection that was there.
  await expect(sink.write(recordsFrom('a', 0, 1), AbortSignal.timeout(100))).rejects.toMatchObject({
    name: 'TimeoutError',
  });
  server.continue();
  for (let round = 0; round < 5; round += 1) {
    const stop = new AbortController();
    const writing = sink.write(recordsFrom('a', 0, 1), stop.signal);
    stop.abort(new Error('enough'));
    await expect(writing).rejects.toThrow('enough');
  }
  await sink.close();
  // Each of them would be connected by now.
  await sleep(500);
  const clients = String(await server.command('CLIENT', 'LIST'));
  expect(clients.trim().split('\n')).toHaveLength(1);
});

test('promise 15: a full Redis takes no records, and takes them when it has room', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 2), signal);
  await server.command('CONFIG', 'SET', 'maxmemory', '1mb');
  for (let round = 0; round < 2; round += 1)
    await expect(sink.write(recordsFrom('a', 2, 2), signal)).rejects.toMatchObject({
      ...failed,
      message: expect.stringContaining('OOM'),
    });
  await server.command('CONFIG', 'SET', 'maxmemory', '0');
  await sink.write(recordsFrom('a', 2, 2), signal);
  expect(await namesIn(server)).toEqual(['a 0', 'a 1', 'a 2', 'a 3']);
});

test('promise 15: sentinels name another master, and writing goes on there with each record once', async (context) => {
  const master = await startRedis(context);
  const replica = await ownRedis(['--replicaof', '127.0.0.1', String(master.port)]);
  const sentinel = await RedisServer.startSentinel(master.port, 1);
  onTestFinished(() => sentinel.remove());
  await until(async () => {
    const replicas = (await sentinel.command('SENTINEL', 'replicas', 'limits')) as unknown[];
    return replicas.length === 1 && (await hasAll(replica));
  }, 'the sentinel knows the replica');
  const url = `redis+sentinel://127.0.0.1:${sentinel.port}/limits?wait=1`;
  const sink = await openSink({ url, deadlineMs: 2000 });
  expect(sink.durability).toBe('replicated');
  await sink.write(recordsFrom('a', 0, 3), signal);
  await master.kill();
  const later = recordsFrom('a', 2, 3);
  await expect(sink.write(later, signal)).rejects.toMatchObject(failed);
  // Nothing replicates the new master: without wait it goes on there.
  const other = await openUntil({ url: url.replace('wait=1', 'wait=0') });
  expect(other.facts.warnings).toContainEqual(expect.stringContaining('a failover loses'));
  expect(other.facts.warnings).not.toContain('');
  expect(other.durability).toBe('memory');
  await other.write(later, signal);
  expect(await namesIn(replica)).toEqual(['a 0', 'a 1', 'a 2', 'a 3', 'a 4']);
});

test('promise 15: a sentinel that wants a password is given that of the server', async (context) => {
  const master = await startRedis(context, ['--requirepass', 'of-both', ...synced]);
  const own = (password: string): Promise<RedisServer> =>
    RedisServer.startSentinel(master.port, 1, [
      'sentinel auth-pass limits of-both',
      `requirepass ${password}`,
    ]);
  const sentinel = await own('of-both');
  onTestFinished(() => sentinel.remove());
  const sink = await openSink({ url: `redis+sentinel://:of-both@127.0.0.1:${sentinel.port}/limits` });
  await sink.write(recordsFrom('a', 0, 3), signal);
  // Its log on the disk is in order: nothing is advised of that.
  expect(sink.facts.warnings).toEqual([
    expect.stringContaining('Replicas get writes later'),
    expect.stringContaining('maxmemory is 0'),
  ]);
  const other = await own('another');
  onTestFinished(() => other.remove());
  for (const login of ['', ':of-both@']) {
    const refused = openSink({ url: `redis+sentinel://${login}127.0.0.1:${other.port}/limits` });
    await expect(refused).rejects.toThrow(/(?:NOAUTH|WRONGPASS).*the sentinel wants a password/);
  }
});

test('promise 15: maxlen removes the oldest, and says so', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: `${server.url}?maxlen=100` });
  expect(sink.isLossy).toBe(true);
  expect(sink.facts.warnings[0]).toContain('maxlen=100');
  await sink.write(recordsFrom('a', 0, 1000), signal);
  const names = await namesIn(server);
  expect(names.length).toBeGreaterThanOrEqual(100);
  expect(names.length).toBeLessThan(300);
  expect(names.at(-1)).toBe('a 999');
  const keeping = await openSink({ url: server.url });
  expect(keeping.isLossy).toBe(false);
});

test('promise 15: a Redis that removes keys when it is full is a lossy one, also when it becomes so', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  for (const [policy, isLossy] of [
    ['allkeys-lru', true],
    ['volatile-lru', false],
    ['allkeys-random', true],
    ['noeviction', false],
  ] as const) {
    await server.command('CONFIG', 'SET', 'maxmemory', '100mb');
    await server.command('CONFIG', 'SET', 'maxmemory-policy', policy);
    passTime(5001);
    await sink.write(recordsFrom('a', 0, 1), signal);
    expect([policy, sink.isLossy]).toEqual([policy, isLossy]);
    const isWarned = sink.facts.warnings.some((each) => each.includes(policy));
    expect(isWarned).toBe(policy !== 'noeviction');
  }
});

test('promise 15: what is known of a stream is forgotten after a while, and takes no memory then', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: `${server.url}?remember=1s` });
  expect(sink.facts.duplicates).toContain('1 s after');
  await sink.write(recordsFrom('a', 0, 1), signal);
  await sink.write(recordsFrom('a', 0, 1), signal);
  expect(await namesIn(server)).toEqual(['a 0']);
  await until(
    async () => Number(await server.command('DBSIZE')) === 2,
    'only the stream and its life are left',
  );
  await sink.write(recordsFrom('a', 0, 1), signal);
  expect(await entriesOf(server.port, 'spillway')).toHaveLength(2);
});

test('promise 15: a record of too many parts is refused, and the others are kept', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url, maxEntryBytes: 1024 });
  const huge = { stream: 'a', seq: 1, value: new Uint8Array(100_000 * 1024 + 1) };
  const batch = [...recordsFrom('a', 0, 1), huge, ...recordsFrom('a', 2, 1)];
  const error = await sink.write(batch, signal).catch((came: unknown) => came);
  expect(error).toMatchObject({ code: 'records_refused' });
  // The very object: to compare its bytes would take minutes.
  expect((error as RefusedRecords).refused.map(({ record }) => record === huge)).toEqual([true]);
  expect(await namesIn(server)).toEqual(['a 0', 'a 2']);
});

test('promise 15: a record that was split in another way is written whole again', async (context) => {
  const server = await startRedis(context);
  const value = Buffer.alloc(5000, 'x');
  const sink = await openSink({ url: server.url, maxEntryBytes: 1024 });
  await sink.write(recordsFrom('a', 0, 1), signal);
  // As a writer leaves it that has crashed after the second part.
  await server.command(
    'XADD',
    'spillway',
    '*',
    'stream',
    'a',
    'seq',
    '1',
    'part',
    '0',
    'parts',
    '5',
    'value',
    'x',
  );
  await server.command('SET', '{spillway}:last:a', '1 1 5', 'PX', '60000');
  const other = await openSink({ url: server.url, maxEntryBytes: 2000 });
  const record = { stream: 'a', seq: 1, value };
  await other.write([record], signal);
  await sink.write([record], signal);
  const records = await entriesOf(server.port, 'spillway');
  expect(
    records.slice(2).map(({ fields }) => `${String(fields.get('part'))} ${String(fields.get('parts'))}`),
  ).toEqual(['0 3', '1 3', '2 3']);
});

test('the lag of a group is what it was not given, or has not acknowledged', async (context) => {
  const server = await startRedis(context);
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 5), signal);
  await server.command('XGROUP', 'CREATE', 'spillway', 'indexer', '0');
  expect(await sink.lagOf?.('indexer', signal)).toMatchObject({ entries: 5 });
  await server.command('XREADGROUP', 'GROUP', 'indexer', 'c', 'COUNT', '2', 'STREAMS', 'spillway', '>');
  await until(async () => ((await sink.lagOf?.('indexer', signal))?.ms ?? 0) > 0, 'it gets older');
  expect(await sink.lagOf?.('indexer', signal)).toMatchObject({ entries: 5 });
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '1');
  // Two that are pending, and one that is left.
  expect(await sink.lagOf?.('indexer', signal)).toMatchObject({ entries: 3 });
  await expect(sink.lagOf?.('nobody', signal)).rejects.toMatchObject({
    ...failed,
    message: expect.stringContaining(
      'has no group nobody: whoever reads makes it, or XGROUP CREATE spillway nobody 0 MKSTREAM',
    ),
  });
});

test('a key that is no stream any more, and a database that is not there, are said to be, with what to do', async (context) => {
  const server = await startRedis(context);
  await expect(openRedisSink({ url: `${server.url}/99` })).rejects.toThrow(
    /out of range: name a database that/,
  );
  const sink = await openSink({ url: server.url });
  await sink.write(recordsFrom('a', 0, 1), signal);
  await server.command('SET', 'spillway', 'text');
  const error: unknown = await sink.write(recordsFrom('a', 1, 1), signal).catch((came: unknown) => came);
  expect(String(error)).toMatch(/WRONGTYPE.*: the key is no stream any more; remove it, or name another one/);
  expect(String(error)).not.toContain('script');
});

test('a URL is checked, and says what is wrong without secrets', async (context) => {
  const server = await startRedis(context);
  await server.command('SET', 'text', 'no stream');
  const cases: readonly (readonly [query: string, message: string])[] = [
    ['maxlenn=5', 'got maxlenn: did you mean maxlen?'],
    ['strem=x', 'did you mean stream?'],
    ['maxlen=0', 'maxlen: expected a whole number from 1'],
    ['maxlen=1&maxlen=2', 'expected maxlen=VALUE once'],
    ['remember=24', 'remember: expected a duration from 1s to 365d'],
    ['wait=many', 'wait: expected a whole number from 0 to 100'],
    ['stream=', 'expected stream=VALUE once'],
    ['stream=text', 'expected a stream of Redis or no key, got a string'],
  ];
  for (const [query, message] of cases) {
    const url = `redis://default:s3cret@127.0.0.1:${server.port}?${query}`;
    await server.command('CONFIG', 'SET', 'requirepass', 's3cret').catch(() => undefined);
    const error: unknown = await openRedisSink({ url }).catch((problem: unknown) => problem);
    expect(error).toMatchObject({ code: 'invalid_option', message: expect.stringContaining(message) });
    expect(inspect(error)).not.toContain('s3cret');
  }
  for (const option of [{ deadlineMs: 1 }, { openTimeoutMs: 0 }, { maxEntryBytes: 1000 }])
    await expect(openRedisSink({ url: server.url, ...option })).rejects.toMatchObject({
      code: 'invalid_option',
    });
});

function recordsFrom(stream: string, from: number, count: number): SinkRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    stream,
    seq: from + index,
    value: Buffer.from(`${stream}/${from + index}`),
  }));
}

async function hasAll(replica: RedisServer): Promise<boolean> {
  return String(await replica.command('INFO', 'replication')).includes('master_link_status:up');
}

async function namesIn(server: RedisServer): Promise<string[]> {
  return (await recordsOf(server, 'spillway')).map(({ seq, stream }) => `${stream} ${seq}`);
}

async function startRedis(context: TestContext, options: readonly string[] = []): Promise<RedisServer> {
  needsRedis(context);
  return ownRedis(options);
}

async function ownRedis(options: readonly string[]): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  onTestFinished(() => server.remove());
  return server;
}

async function openSink(options: RedisSinkOptions): Promise<EngineSink> {
  const sink = await openRedisSink(options);
  onTestFinished(() => sink.close());
  return sink;
}

/** Opens a sink when its engine is there. */
async function openUntil(options: RedisSinkOptions): Promise<EngineSink> {
  let sink: EngineSink | undefined;
  await until(async () => {
    sink = await openSink(options).catch(() => undefined);
    return sink !== undefined;
  }, 'there is a master');
  if (sink === undefined) throw new Error('expected a sink');
  return sink;
}
