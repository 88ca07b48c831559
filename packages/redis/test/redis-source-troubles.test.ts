import { until } from '../../core/test/support/until.ts';
import { spawnNode } from '../../gateway/test/support/spawn.ts';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecordGap, type RecordSource, type SourceItem } from '@spillway/core/source/record-source';
import { openRedisSink, openRedisSource, type RedisSourceOptions } from '@spillway/redis';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { needsRedis, RedisServer } from './support/redis-server.ts';

const { signal } = new AbortController();

test('promise 15: entries of another program are records, by their fields or as a program reads them', async (context) => {
  const server = await startRedis(context);
  await server.command('XADD', 'llm:out', '1700000000000-0', 'text', 'hello', 'who', 'x');
  await server.command('XADD', 'llm:out', '1700000000000-7', 'text', 'there');
  const source = await openSource({ url: `${server.url}?stream=llm:out`, name: 'a' });
  const records = await readAll(source, 2);
  expect(records).toMatchObject([
    { stream: 'llm_out', seq: 1_700_000_000_000 * 2048 },
    { stream: 'llm_out', seq: 1_700_000_000_000 * 2048 + 7 },
  ]);
  expect(records.map(textOf)).toEqual(['{"text":"hello","who":"x"}', '{"text":"there"}']);
  const own = await openSource({
    url: `${server.url}?stream=llm:out`,
    name: 'b',
    stream: 'transcript',
    decode({ fields: [first] }) {
      if (first === undefined || String(Buffer.from(first[1])) !== 'there') throw new Error('not mine');
      return first[1];
    },
  });
  const items = await readAll(own, 2);
  expect(told(items)).toEqual([
    'unreadable 1700000000000-0 to 1700000000000-0: 1',
    'transcript 3481600000000007',
  ]);
  expect(textOf(items[1])).toBe('there');
  await own.acknowledge(items, signal);
  expect(await own.lag(signal)).toEqual({ records: 0, bytes: undefined, ms: 0 });
});

test('promise 15: what MAXLEN removed is a gap with its range and its count, before what is behind it', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  const add = (ms: number): Promise<unknown> =>
    server.command('XADD', 'spillway', 'MAXLEN', '=', '3', `${ms}-0`, 'n', String(ms));
  for (let ms = 1; ms <= 4; ms += 1) await add(ms);
  const items = [...(await source.read({ maxItems: 3 }, signal))];
  expect(told(items)).toEqual(['removed 0-1 to 1-18446744073709551615: 1', 'spillway 4096', 'spillway 6144']);
  for (let ms = 5; ms <= 9; ms += 1) await add(ms);
  items.push(...(await readAll(source, 5)));
  expect(told(items.slice(3))).toEqual([
    'spillway 8192',
    'removed 4-1 to 6-18446744073709551615: 2',
    ...[7, 8, 9].map((ms) => `spillway ${ms * 2048}`),
  ]);
  await source.close();
  // All that was read is pending; of it 2 and 3 are gone, too, and the gaps were not acknowledged.
  const later = await openSource({ url: server.url, name: 'a' });
  const again = await readAll(later, 6);
  expect(told(again)).toEqual([
    'removed 0-1 to 1-18446744073709551615: 1',
    'removed 2-0 to 4-0: 3',
    'removed 4-1 to 6-18446744073709551615: 2',
    ...[7, 8, 9].map((ms) => `spillway ${ms * 2048}`),
  ]);
  await later.acknowledge(again, signal);
  await later.close();
  await add(10);
  const last = await openSource({ url: server.url, name: 'a' });
  // Nothing that is missing counts as waiting.
  expect(await last.lag(signal)).toMatchObject({ records: 1 });
  expect(told(await readAll(last, 1))).toEqual([`spillway ${10 * 2048}`]);
});

test('promise 15: what was deleted before it was read is a gap, once', async (context) => {
  const server = await startRedis(context);
  await server.command('XADD', 'spillway', '1-0', 'n', '1');
  await server.command('XDEL', 'spillway', '1-0');
  const source = await openSource({ url: server.url, name: 'a' });
  for (let ms = 2; ms <= 9; ms += 1) await server.command('XADD', 'spillway', `${ms}-0`, 'n', '');
  expect(told(await source.read({ maxItems: 2 }, signal))).toEqual(['spillway 4096', 'spillway 6144']);
  await server.command('XDEL', 'spillway', '2-0', '5-0', '6-0');
  expect(told(await readAll(source, 5))).toEqual([
    'removed 3-1 to 6-0: ?',
    ...[4, 7, 8, 9].map((ms) => `spillway ${ms * 2048}`),
  ]);
  await server.command('XADD', 'spillway', '10-0', 'n', '');
  expect(told(await readAll(source, 1))).toEqual(['spillway 20480']);
});

test('promise 15: all was removed before it was read', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  for (let ms = 1; ms <= 5; ms += 1) await server.command('XADD', 'spillway', `${ms}-0`, 'n', '');
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '0');
  const items = await readAll(source, 1);
  expect(told(items)).toEqual(['removed 0-1 to 5-0: 5']);
  await source.acknowledge(items, signal);
  expect(await source.lag(signal)).toMatchObject({ records: 0 });
  await server.command('XADD', 'spillway', '6-0', 'n', '');
  expect(told(await readAll(source, 1))).toEqual(['spillway 12288']);
});

test('promise 15: a stream that was removed with its groups is a gap, and what is new comes', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  await server.command('XADD', 'spillway', '5-0', 'n', '');
  const items = await readAll(source, 1);
  expect(told(items)).toEqual(['spillway 10240']);
  await server.command('FLUSHALL');
  await server.command('XADD', 'spillway', '1-0', 'n', '');
  items.push(...(await readAll(source, 2)));
  expect(told(items.slice(1)).toSorted()).toEqual(['forgotten 5-1 to 5-1: ?', 'spillway 2048']);
  await source.acknowledge(items, signal);
  await source.close();
  await server.command('DEL', 'spillway');
  const later = await openSource({ url: server.url, name: 'a' });
  expect(told(await readAll(later, 1))).toEqual(['forgotten 0-1 to 0-1: ?']);
});

test('promise 15: the source that was opened last reads, and takes over what others have', async (context) => {
  const server = await startRedis(context);
  await server.command('XGROUP', 'CREATE', 'spillway', 'a', '0', 'MKSTREAM');
  for (let ms = 1; ms <= 4; ms += 1) await server.command('XADD', 'spillway', `${ms}-0`, 'n', '');
  // Another library's consumer, that is gone. One of its entries is, too.
  await server.command('XREADGROUP', 'GROUP', 'a', 'gone', 'COUNT', '2', 'STREAMS', 'spillway', '>');
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '3');
  const first = await openSource({ url: server.url, name: 'a' });
  expect(told(await readAll(first, 2))).toEqual([
    'removed 1-0 to 1-0: 1',
    ...[2, 3, 4].map((ms) => `spillway ${ms * 2048}`),
  ]);
  const second = await openSource({ url: server.url, name: 'a', consumer: 'other' });
  await expect(first.read({ maxItems: 1 }, AbortSignal.timeout(20_000))).rejects.toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('was opened again'),
  });
  const items = await readAll(second, 4);
  expect(told(items)).toEqual(['removed 1-0 to 1-0: 1', ...[2, 3, 4].map((ms) => `spillway ${ms * 2048}`)]);
  await second.acknowledge(items, signal);
  expect(await second.lag(signal)).toMatchObject({ records: 0 });
});

test('promise 15: who reads from a full Redis makes room', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  const sink = await openRedisSink({ url: server.url });
  onTestFinished(() => sink.close());
  await sink.write([{ stream: 's', seq: 0, value: Buffer.alloc(10) }], signal);
  await server.command('CONFIG', 'SET', 'maxmemory', '1mb');
  const items = await readAll(source, 1);
  await source.acknowledge(items, signal);
  expect(await source.lag(signal)).toMatchObject({ records: 0 });
});

test('promise 15: a read that waits is aborted at once, and leaves no connection behind', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  const clients = async (): Promise<number> =>
    String(await server.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length - 1;
  for (let round = 0; round < 3; round += 1) {
    const stop = new AbortController();
    const reading = source.read({ maxItems: 1 }, stop.signal);
    reading.catch(() => undefined);
    await until(
      async () => String(await server.command('INFO', 'clients')).includes('blocked_clients:1'),
      'it waits',
    );
    const beganMs = performance.now();
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    expect(performance.now() - beganMs).toBeLessThan(1000);
  }
  await until(async () => (await clients()) === 0, 'there is no connection');
});

test('promise 15: parts whose others were removed are a gap', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  const sink = await openRedisSink({ url: server.url, maxEntryBytes: 1024 });
  onTestFinished(() => sink.close());
  await sink.write([{ stream: 's', seq: 0, value: Buffer.alloc(3000) }], signal);
  await server.command('XTRIM', 'spillway', 'MAXLEN', '=', '2');
  await sink.write([{ stream: 's', seq: 1, value: Buffer.from('whole') }], signal);
  const items = await readAll(source, 3);
  expect(told(items).map((each) => each.replaceAll(/\d+-\d+/g, 'ID'))).toEqual([
    'removed ID to ID: 1',
    'incomplete ID to ID: 1',
    's 1',
  ]);
  await source.acknowledge(items, signal);
  expect(await source.lag(signal)).toMatchObject({ records: 0 });
});

test('promise 15: records that a forgetful writer has added twice come once, and leave nothing behind', async (context) => {
  const server = await startRedis(context);
  const source = await openSource({ url: server.url, name: 'a' });
  for (const seq of ['0', '1', '0', '1', '2'])
    await server.command('XADD', 'spillway', '*', 'stream', 's', 'seq', seq, 'value', seq);
  const items = await readAll(source, 3);
  expect(told(items)).toEqual(['s 0', 's 1', 's 2']);
  await source.acknowledge(items, signal);
  await source.read({ maxItems: 1 }, AbortSignal.timeout(200)).catch(() => undefined);
  await until(async () => (await source.lag(signal)).records === 0, 'all is acknowledged');
});

test('promise 15: a reader that is killed, 3 times: each record is written, and again at most the batch that it had', async (context) => {
  const server = await startRedis(context);
  const sink = await openRedisSink({ url: server.url });
  onTestFinished(() => sink.close());
  const program = fileURLToPath(new URL('support/copy-stream.ts', import.meta.url));
  const copied = async (): Promise<string[]> =>
    (await server.command('LRANGE', 'copy', '0', '-1')) as string[];
  const kills = 3;
  for (let round = 0; round <= kills; round += 1) {
    const batch = Array.from({ length: 50 }, (_, index) => {
      const seq = round * 50 + index;
      return { stream: 's', seq, value: Buffer.from(`s/${seq}`) };
    });
    await sink.write(batch, signal);
    const before = (await copied()).length;
    const reader = spawnNode(program, [server.url]);
    onTestFinished(() => void reader.process.kill('SIGKILL'));
    const isDone = (names: readonly string[]): boolean =>
      round < kills ? names.length > before : names.includes(`s ${round * 50 + 49} s/${round * 50 + 49}`);
    await until(async () => isDone(await copied()), 'the reader writes', 60_000);
    // Chance is what is asked for, and nothing is expected of it.
    if (round < kills) await sleep(Math.random() * 20);
    reader.process.kill('SIGKILL');
    await reader.exited;
  }
  const all = (kills + 1) * 50;
  const names = await copied();
  expect([...new Set(names)]).toEqual(Array.from({ length: all }, (_, seq) => `s ${seq} s/${seq}`));
  expect(names.length).toBeLessThanOrEqual(all + kills * 5);
});

test('options are checked', async (context) => {
  const server = await startRedis(context);
  for (const options of [
    { name: '' },
    { name: 'a b' },
    { name: 'a', consumer: '' },
    { name: 'a', stream: 'a/b' },
    { name: 'a', deadlineMs: 1 },
    { name: 'a', url: `${server.url}?maxlen=5` },
  ])
    await expect(openRedisSource({ url: server.url, ...options })).rejects.toMatchObject({
      code: 'invalid_option',
    });
  await server.kill();
  await expect(openRedisSource({ url: server.url, name: 'a' })).rejects.toMatchObject({
    code: 'source_failed',
  });
});

function told(items: readonly SourceItem[]): string[] {
  return items.map((item) =>
    item instanceof RecordGap
      ? `${item.reason} ${item.from} to ${item.to}: ${item.maxRecords ?? '?'}`
      : `${item.stream} ${item.seq}`,
  );
}

function textOf(item: SourceItem | undefined): string {
  return item === undefined || item instanceof RecordGap ? '' : Buffer.from(item.value).toString();
}

async function readAll(source: RecordSource, count: number): Promise<SourceItem[]> {
  const items: SourceItem[] = [];
  while (items.length < count)
    items.push(...(await source.read({ maxItems: 100 }, AbortSignal.timeout(30_000))));
  return items;
}

async function startRedis(context: TestContext): Promise<RedisServer> {
  needsRedis(context);
  const server = await RedisServer.start();
  onTestFinished(() => server.remove());
  return server;
}

async function openSource(options: RedisSourceOptions): Promise<RecordSource> {
  const source = await openRedisSource(options);
  onTestFinished(() => source.close());
  return source;
}
