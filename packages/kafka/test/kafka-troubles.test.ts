import { inspect } from 'node:util';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink, RefusedRecords } from '@spillway/core/engine';
import { RecordGap } from '@spillway/core/source/record-source';
import { type KafkaSinkOptions, openKafkaSink, openKafkaSource } from '@spillway/kafka';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { passTime } from '../../core/test/support/pass-time.ts';
import { makeCertificates } from './support/certificates.ts';
import { answerAsBroker } from './support/kafka-answers.ts';
import { hasKafka, KafkaMock, needsKafka, type ReadEntry } from './support/kafka-mock.ts';
import { batchesOf, KafkaProxy, type PassingRequest, produce, refuse } from './support/kafka-proxy.ts';

let running: KafkaMock | undefined;

beforeAll(async () => {
  if (hasKafka) running = await KafkaMock.start();
});

afterAll(async () => {
  await running?.end();
});

beforeEach(needsKafka);

const { signal } = new AbortController();

test('promise 15: brokers that are down at the start are said to be, without a password, and are tried again', async () => {
  const { mock, topic } = await begin();
  await mock.command('down -1');
  const hosts = mock.brokers.join(',');
  const url = `kafka://me:secret-7@${hosts}/${topic}`;
  const failure = await openKafkaSink({ url }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'sink_failed' });
  expect(inspect(failure)).toContain(`kafka://${hosts}/${topic}`);
  expect(inspect(failure)).not.toContain('secret-7');
  await expect(openKafkaSource({ url, name: 'g' })).rejects.toMatchObject({ code: 'source_failed' });
  await mock.command('up -1');
  const sink = await open(topic);
  await sink.write(records('a', 0, 2), signal);
  expect(seqsOf(await mock.read(topic, 3))).toEqual([0, 1]);
});

test('promise 15: a sink and a source that are opened in vain leave nothing open, whatever they wait for', async () => {
  const { proxy, topic } = await begin();
  const url = urlOf(proxy.brokers, topic);
  const [apiVersions, metadata, offsetFetch] = [18, 3, 9];
  for (const silent of [apiVersions, metadata, offsetFetch]) {
    proxy.pass = ({ apiKey }) => (apiKey === silent ? 'hold' : 'pass');
    if (silent !== offsetFetch)
      await expect(openKafkaSink({ url, openTimeoutMs: 300 })).rejects.toMatchObject({
        code: 'sink_failed',
        message: expect.stringContaining('within 300 ms'),
      });
    await expect(openKafkaSource({ url, name: topic, openTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'source_failed',
    });
    expect(await proxy.openCountSoon()).toBe(0);
  }
});

test('promise 15: while brokers are down writes reject at once, and nothing is kept for later', async () => {
  const { mock, topic } = await begin();
  const sink = await open(topic);
  await sink.write(records('a', 0, 1), signal);
  await mock.command('down -1');
  onTestFinished(async () => void (await mock.command('up -1')));
  const beganMs = performance.now();
  for (let seq = 1; seq <= 200; seq += 1)
    await expect(sink.write(records('b', 0, seq), signal)).rejects.toMatchObject({ code: 'sink_failed' });
  expect(performance.now() - beganMs).toBeLessThan(20_000);
  await mock.command('up -1');
  await sink.write(records('a', 1, 1), signal);
  const entries = await mock.read(topic, 3);
  expect([seqsOf(entries), seqsOf(entries, 'b')]).toEqual([[0, 1], []]);
});

test('promise 15: a slow broker is waited for, and a write that is given up is there once', async () => {
  const { mock, topic } = await begin();
  const sink = await open(topic);
  await sink.write(records('a', 0, 1), signal);
  onTestFinished(async () => void (await mock.command('rtt -1 0')));
  await mock.command('rtt -1 700');
  const beganMs = performance.now();
  await sink.write(records('a', 1, 1), signal);
  expect(performance.now() - beganMs).toBeGreaterThan(600);
  await expect(sink.write(records('a', 2, 3), AbortSignal.timeout(300))).rejects.toMatchObject({
    name: 'TimeoutError',
  });
  await mock.command('rtt -1 0');
  await sink.write(records('a', 2, 3), signal);
  expect(seqsOf(await mock.read(topic, 3))).toEqual([0, 1, 2, 3, 4]);
});

test('promise 15: too few replicas, a lost producer and a broken disk reject, and then work', async () => {
  const { mock, topic } = await begin();
  const sink = await open(topic);
  let seq = 0;
  // NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID, KAFKA_STORAGE_ERROR.
  for (const code of [19, 7, 45, 59, 56]) {
    await mock.command(`err ${produce} ${code} 1`);
    await expect(sink.write(records('a', seq, 2), signal)).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringContaining(`(${code})`),
    });
    await sink.write(records('a', seq, 2), signal);
    seq += 2;
  }
  expect(seqsOf(await mock.read(topic, 3))).toEqual(Array.from({ length: seq }, (_, index) => index));
});

test('promise 15: a topic that was made anew between two writes is said to be', async () => {
  const { proxy, topic } = await begin(1);
  const sink = await openKafkaSink({ url: urlOf(proxy.brokers, topic) });
  onTestFinished(() => sink.close());
  await sink.write(records('a', 0, 3), signal);
  await sink.write(records('a', 3, 1), signal);
  expect(sink.facts.forgot).toBeUndefined();
  // As a broker answers whose log has begun anew.
  proxy.pass = ({ apiKey, frame }) => (apiKey === produce ? { frame, change: atOffsetZero } : 'pass');
  await sink.write(records('a', 4, 1), signal);
  expect(sink.facts.forgot).toEqual({
    times: 1,
    why: expect.stringContaining('Partition 0 ended at 4 and was found to end at 0'),
  });
  proxy.pass = () => 'pass';
  await sink.write(records('a', 5, 1), signal);
  expect(sink.facts.forgot?.times).toBe(1);
});

/** The answer to a write of one partition, with another first offset. */
function atOffsetZero(answer: Buffer): Buffer {
  const changed = Buffer.from(answer);
  // Behind lengths, numbers and counts, the topic's name, the partition and the code.
  changed.writeBigInt64BE(0n, 12 + 2 + answer.readInt16BE(12) + 4 + 4 + 2);
  return changed;
}

test('promise 15: a partition with another leader is followed, by sink and source', async () => {
  const { mock, topic } = await begin(1);
  const sink = await open(topic);
  const source = await openKafkaSource({ url: urlOf(mock.brokers.join(','), topic), name: `${topic}-moved` });
  onTestFinished(() => source.close());
  const seqs: number[] = [];
  for (const [seq, leader] of [1, 2, 3, 1].entries()) {
    await mock.command(`leader ${topic} 0 ${leader}`);
    await sink.write(records('a', seq, 1), signal);
    const items = await source.read({ maxItems: 10 }, signal);
    seqs.push(...items.flatMap((item) => ('seq' in item ? [item.seq] : [])));
  }
  expect(seqs).toEqual([0, 1, 2, 3]);
});

test('promise 15: a write whose answer is lost is not written again', async () => {
  const { mock, proxy, topic } = await begin();
  const sink = await open(topic, proxy);
  await sink.write(records('a', 0, 1), signal);
  proxy.pass = ({ apiKey }) => (apiKey === produce ? 'lose-answer' : 'pass');
  await expect(sink.write(records('a', 1, 3), signal)).rejects.toMatchObject({ code: 'sink_failed' });
  const numbers = noteNumbers(proxy);
  await sink.write(records('a', 1, 3), signal);
  expect(numbers).toEqual([]);
  // The numbers go on behind those of the write that was found.
  await sink.write(records('a', 4, 1), signal);
  expect(numbers).toEqual([expect.stringMatching(/ 4 1$/)]);
  expect(seqsOf(await mock.read(topic, 3))).toEqual([0, 1, 2, 3, 4]);
});

test('promise 15: a write that a broker still holds is sent again with its numbers, so that one of both is dropped', async () => {
  const { proxy, topic } = await begin();
  const sink = await open(topic, proxy);
  await sink.write(records('a', 0, 1), signal);
  const count = await proxy.openCountSoon(Infinity);
  const held = await abandonWrite(proxy, sink, records('a', 1, 2));
  // Nothing of it is sent any more.
  expect(await proxy.openCountSoon(count - 1)).toBe(count - 1);
  const numbers = noteNumbers(proxy);
  await sink.write(records('a', 1, 4), signal);
  // A broker drops a batch with the number and the count of the last one; what comes behind it goes on from there.
  expect(numbers[0]).toBe(held[0]);
  expect(numbers[1]).toMatch(/ 3 2$/);
  // Of other records the number would hide some: they come from another producer.
  await abandonWrite(proxy, sink, records('b', 0, 2));
  const others = noteNumbers(proxy);
  await sink.write(records('b', 1, 2), signal);
  expect(others).toHaveLength(1);
  expect(others[0]).toMatch(/ 0 2$/);
  expect(others[0]?.split(' ')[0]).not.toBe(numbers[0]?.split(' ')[0]);
});

test('promise 15: a record that is too large for the topic is refused, and the others are kept', async () => {
  const { mock, proxy, topic } = await begin();
  const sink = await open(topic, proxy, { maxEntryBytes: 2000 });
  proxy.pass = (request) => {
    if (request.apiKey !== produce) return 'pass';
    const tooLarge = batchesOf(request).filter(({ batch }) =>
      batch.records.some(({ value }) => (value?.length ?? 0) > 1500),
    );
    const partitions = new Set(tooLarge.map(({ partition }) => partition));
    return partitions.size === 0 ? 'pass' : refuse(request, partitions, 10);
  };
  const batch = [
    ...records('a', 0, 3),
    { stream: 'a', seq: 3, value: Buffer.alloc(1800) },
    ...records('a', 4, 2),
    ...records('b', 0, 3),
  ];
  const failure = await sink.write(batch, signal).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'records_refused' });
  expect((failure as { refused: unknown }).refused).toEqual([
    { record: batch[3], reason: 'MESSAGE_TOO_LARGE (10)' },
  ]);
  const entries = await mock.read(topic, 3);
  expect(seqsOf(entries, 'a')).toEqual([0, 1, 2, 4, 5]);
  expect(seqsOf(entries, 'b')).toEqual([0, 1, 2]);
});

test('promise 15: a record of too many parts is refused, and the others are kept', async () => {
  const { mock, proxy, topic } = await begin();
  const sink = await open(topic, proxy, { maxEntryBytes: 1024 });
  const huge = { stream: 'a', seq: 1, value: new Uint8Array(100_000 * 1024 + 1) };
  const error = await sink
    .write([...records('a', 0, 1), huge, ...records('a', 2, 1)], signal)
    .catch((came: unknown) => came);
  expect(error).toMatchObject({ code: 'records_refused' });
  // The very object: to compare its bytes would take minutes.
  expect((error as RefusedRecords).refused.map(({ record }) => record === huge)).toEqual([true]);
  expect(seqsOf(await mock.read(topic, 3), 'a')).toEqual([0, 2]);
});

test('promise 15: a later sink knows so many entries of a partition as it recalls', async () => {
  const { mock, topic } = await begin(1);
  await (await open(topic)).write(records('a', 0, 20), signal);
  await (await open(topic, undefined, { recall: 1 })).write(records('a', 0, 20), signal);
  expect(seqsOf(await mock.read(topic, 1))).toHaveLength(20);
  // Another program's entries have come since.
  await mock.command(`produce ${topic} 0 none 5 0`);
  await (await open(topic, undefined, { recall: 5 })).write(records('a', 19, 1), signal);
  expect(seqsOf(await mock.read(topic, 1), 'a')).toEqual([19]);
  await (await open(topic, undefined, { recall: 7 })).write(records('a', 19, 1), signal);
  expect(await mock.read(topic, 1)).toEqual([]);
});

test('promise 15: a sink says what its topic gives, and never more', async () => {
  const { mock, proxy, topic } = await begin();
  const asked = await open(topic);
  expect(asked).toMatchObject({
    durability: 'memory',
    address: `kafka://${mock.brokers.join(',')}/${topic}`,
  });
  expect(asked.facts.warnings).toEqual([expect.stringContaining('DescribeConfigs')]);
  const openWith = async (config: Readonly<Record<string, string>>): Promise<EngineSink> => {
    proxy.pass = (request) => answerAsBroker(request, { config }) ?? 'pass';
    return open(topic, proxy);
  };
  const good = await openWith({ 'min.insync.replicas': '2', 'cleanup.policy': 'delete' });
  expect(good).toMatchObject({ durability: 'replicated', facts: { warnings: [] } });
  const one = await openWith({ 'min.insync.replicas': '1' });
  expect(one.durability).toBe('memory');
  expect(one.facts.warnings).toEqual([expect.stringContaining('min.insync.replicas')]);
  const risky = await openWith({
    'min.insync.replicas': '2',
    'cleanup.policy': 'compact,delete',
    'unclean.leader.election.enable': 'true',
  });
  expect(risky.facts.warnings).toHaveLength(2);
  const bounded = await openWith({
    'min.insync.replicas': '2',
    'retention.bytes': '1000000',
    'retention.ms': '604800000',
  });
  expect(bounded.facts.warnings).toEqual([
    expect.stringContaining('1000000 bytes'),
    expect.stringContaining('168 hours'),
  ]);
  expect([good, one, risky, bounded].map(({ isLossy }) => isLossy)).toEqual([false, false, true, true]);
  // Entries are split to what the topic takes.
  const small = await openWith({ 'min.insync.replicas': '2', 'max.message.bytes': '4096' });
  await small.write([{ stream: 'large', seq: 0, value: Buffer.alloc(10_000) }], signal);
  const entries = await mock.read(topic, 3);
  expect(entries.map(({ headers }) => headers['part'])).toEqual(['0', '1', '2', '3']);
});

test('promise 15: a trial says that a user may not write, without a write, or that it was not tried', async () => {
  const { mock, proxy, topic } = await begin();
  // The mock does not know what users may do.
  expect((await open(topic, proxy, { isTrial: true })).facts.untried).toContain('is not tried');
  expect((await open(topic, proxy)).facts.untried).toBeUndefined();
  const openWith = (operations: number): Promise<EngineSink> => {
    const port = Number(proxy.brokers.split(':').at(-1));
    proxy.pass = (request) => answerAsBroker(request, { operations: { topic, port, operations } }) ?? 'pass';
    return open(topic, proxy, { isTrial: true });
  };
  // Read, Write, Describe.
  expect((await openWith(0b1_0001_1000)).facts.untried).toBeUndefined();
  expect((await openWith(-(2 ** 31))).facts.untried).toContain('is not tried');
  await expect(openWith(0b1_0000_1000)).rejects.toThrow(/TOPIC_AUTHORIZATION_FAILED.*has no Write/);
  expect(await mock.read(topic, 3)).toEqual([]);
});

test('promise 15: a topic that becomes less while it is connected says so to a write within 5 s', async () => {
  const { mock, proxy, topic } = await begin();
  const become = (config: Readonly<Record<string, string>>): void => {
    proxy.pass = (request) => answerAsBroker(request, { config }) ?? 'pass';
  };
  become({ 'min.insync.replicas': '2', 'cleanup.policy': 'delete' });
  const sink = await open(topic, proxy);
  await sink.write(records('a', 0, 1), signal);
  become({ 'min.insync.replicas': '1', 'retention.bytes': '1000000' });
  await sink.write(records('a', 1, 1), signal);
  expect(sink).toMatchObject({ durability: 'replicated', isLossy: false });
  passTime(5001);
  await sink.write(records('a', 2, 1), signal);
  expect(sink).toMatchObject({ durability: 'memory', isLossy: true });
  expect(seqsOf(await mock.read(topic, 3))).toEqual([0, 1, 2]);
});

test('a login is asked for, and a wrong one is said to be, without the password', async () => {
  const { proxy, topic } = await begin();
  proxy.pass = (request) => answerAsBroker(request, { login: '\0me\0right-7' }) ?? 'pass';
  const sink = await openKafkaSink({ url: `kafka://me@${proxy.brokers}/${topic}`, password: 'right-7' });
  await sink.write(records('a', 0, 1), signal);
  await sink.close();
  const url = `kafka://me:wrong-7@${proxy.brokers}/${topic}?sasl=plain`;
  const failure = await openKafkaSink({ url }).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: 'sink_failed',
    isDenied: true,
    message: expect.stringContaining('SASL'),
  });
  expect(inspect(failure)).not.toContain('wrong-7');
});

test('TLS is spoken, with an authority of one’s own, and to nobody else', async (context) => {
  const certificates = makeCertificates(context);
  const { mock, topic } = await begin();
  const proxy = await KafkaProxy.start(mock.brokers, { cert: certificates.cert, key: certificates.key });
  onTestFinished(() => proxy.end());
  const url = `kafkas://${proxy.brokers}/${topic}?ca=${encodeURIComponent(certificates.caFile)}`;
  const sink = await openKafkaSink({ url });
  await sink.write(records('a', 0, 2), signal);
  await sink.close();
  expect(seqsOf(await mock.read(topic, 3))).toEqual([0, 1]);
  await expect(openKafkaSink({ url: `kafka://${proxy.brokers}/${topic}?tls=1` })).rejects.toMatchObject({
    code: 'sink_failed',
    message: expect.stringContaining('self-signed'),
  });
});

test('promise 15: a stream is where other producers of Kafka’s put its key', async () => {
  const { mock, topic } = await begin();
  const sink = await open(topic);
  // As org.apache.kafka.common.utils.Utils.murmur2 has them.
  const hashes = { '21': -973_932_308, foobar: -790_332_482, 'a-little-bit-long-string': -985_981_536 };
  for (const stream of Object.keys(hashes)) await sink.write(records(stream, 0, 1), signal);
  const entries = await mock.read(topic, 3);
  for (const [key, hash] of Object.entries(hashes))
    expect(entries.find((entry) => entry.key === key)?.partition).toBe((hash & 0x7f_ff_ff_ff) % 3);
});

test('a group’s lag is what it has not committed, and how old that is', async () => {
  const { mock, topic } = await begin();
  const sink = await open(topic);
  const group = `${topic}-group`;
  await expect(sink.lagOf?.(group, signal)).rejects.toMatchObject({ code: 'sink_failed' });
  const source = await openKafkaSource({ url: urlOf(mock.brokers.join(','), topic), name: group });
  onTestFinished(() => source.close());
  await expect(sink.lagOf?.(group, signal)).resolves.toEqual({ entries: 0, ms: 0 });
  await sink.write([...records('a', 0, 5), ...records('b', 0, 5)], signal);
  await expect(sink.lagOf?.(group, signal)).resolves.toMatchObject({ entries: 10 });
  const items = [];
  while (items.length < 4) items.push(...(await source.read({ maxItems: 4 - items.length }, signal)));
  await source.acknowledge(items, signal);
  const lag = await sink.lagOf?.(group, signal);
  expect(lag?.entries).toBe(6);
  expect(lag?.ms).toBeLessThan(60_000);
});

test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])(
  'entries of another program are records, compressed by %s',
  async (codec) => {
    const { mock, topic } = await begin();
    await mock.command(`produce ${topic} 1 ${codec} 50 0`);
    await mock.command(`produce ${topic} 1 ${codec} 50 50`);
    const url = urlOf(mock.brokers.join(','), topic);
    const source = await openKafkaSource({
      url,
      name: `${topic}-other`,
      decode: ({ key, offset, value }) => {
        if (offset === 7) throw new Error('not this one');
        return Buffer.concat([key ?? Buffer.alloc(0), Buffer.from(' '), value.subarray(0, 12)]);
      },
    });
    onTestFinished(() => source.close());
    const items = [];
    while (items.length < 100) items.push(...(await source.read({ maxItems: 30 }, signal)));
    expect(items[8]).toMatchObject({ stream: `${topic}-1`, seq: 8 });
    expect(String((items[42] as SinkRecord).value)).toBe('key-42 {"number":42');
    expect(items[7]).toEqual(new RecordGap('1:7', '1:7', 1, 'not decoded'));
  },
);

test('promise 15: what is done behind parts that wait for others does not come again', async () => {
  const { mock, proxy, topic } = await begin(1);
  const name = `${topic}-parts`;
  const url = urlOf(mock.brokers.join(','), topic);
  const large = { stream: 'large', seq: 0, value: Buffer.alloc(3000, 7) };
  // A writer that ends in the midst of a record, another one, and then the first again.
  proxy.pass = (request) => answerAsBroker(request, { config: { 'max.message.bytes': '1600' } }) ?? 'pass';
  await abandonWrite(proxy, await open(topic, proxy, { maxEntryBytes: 1024 }), [large], 1);
  await (await open(topic)).write(records('b', 0, 3), signal);
  const early = await openKafkaSource({ url, name });
  const done = [];
  while (done.length < 3) done.push(...(await early.read({ maxItems: 10 }, signal)));
  await early.acknowledge(done, signal);
  await early.close();
  await (await open(topic, undefined, { maxEntryBytes: 1024 })).write([large], signal);
  const late = await openKafkaSource({ url, name });
  onTestFinished(() => late.close());
  await expect(late.lag(signal)).resolves.toMatchObject({ records: 4 });
  const [item, ...others] = await late.read({ maxItems: 10 }, signal);
  expect(others).toEqual([]);
  expect(item).toMatchObject({ stream: 'large', seq: 0 });
  expect((item as SinkRecord).value).toEqual(new Uint8Array(large.value));
});

async function begin(partitions = 3): Promise<{ mock: KafkaMock; proxy: KafkaProxy; topic: string }> {
  if (running === undefined) throw new Error('expected a mock that runs');
  const mock = running;
  onTestFinished(async () => void (await mock.command('up -1')));
  const proxy = await KafkaProxy.start(mock.brokers);
  onTestFinished(() => proxy.end());
  return { mock, proxy, topic: await mock.makeTopic(partitions) };
}

function urlOf(brokers: string, topic: string): string {
  return `kafka://${brokers}/${topic}`;
}

/** Opens a sink, behind a proxy or at the brokers themselves. */
async function open(
  topic: string,
  proxy?: KafkaProxy,
  options: Omit<KafkaSinkOptions, 'url'> = {},
): Promise<EngineSink> {
  const url = urlOf(proxy?.brokers ?? running?.brokers.join(',') ?? '', topic);
  const sink = await openKafkaSink({ url, openTimeoutMs: 20_000, ...options });
  onTestFinished(() => sink.close());
  return sink;
}

function records(stream: string, from: number, count: number): SinkRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const seq = from + index;
    return { stream, seq, value: Buffer.from(`${stream} ${seq}`) };
  });
}

function seqsOf(entries: readonly ReadEntry[], stream = 'a'): number[] {
  return entries.filter(({ key }) => key === stream).map(({ headers }) => Number(headers['seq']));
}

/** Notes the producer, the number and the count of each batch from now on. */
function noteNumbers(proxy: KafkaProxy): string[] {
  const numbers: string[] = [];
  proxy.pass = (request) => {
    if (request.apiKey === produce) numbers.push(...numbersOf(request));
    return 'pass';
  };
  return numbers;
}

function numbersOf(request: PassingRequest): string[] {
  return batchesOf(request).map(
    ({ batch }) => `${batch.producerId} ${batch.firstSequence} ${batch.records.length}`,
  );
}

/**
 * Writes, and aborts when a request is on its way to a broker that does not get it yet. Resolves with the numbers of that.
 *
 * @param passed how many requests the brokers get before.
 */
async function abandonWrite(
  proxy: KafkaProxy,
  sink: EngineSink,
  batch: readonly SinkRecord[],
  passed = 0,
): Promise<string[]> {
  const stop = new AbortController();
  const held = Promise.withResolvers<string[]>();
  let count = 0;
  proxy.pass = (request) => {
    if (request.apiKey !== produce) return 'pass';
    count += 1;
    if (count <= passed) return 'pass';
    held.resolve(numbersOf(request));
    return 'hold';
  };
  const writing = sink.write(batch, stop.signal);
  writing.catch(() => undefined);
  const numbers = await held.promise;
  stop.abort();
  await expect(writing).rejects.toThrow();
  return numbers;
}
