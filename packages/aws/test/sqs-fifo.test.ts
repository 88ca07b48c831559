import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  DeleteQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from '@aws-sdk/client-sqs';
import { openSqsSink, openSqsSource } from '@spillway/aws';
import type { SinkRecord } from '@spillway/core';
import type { RecordSource } from '@spillway/core/source/record-source';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { passTime } from '../../core/test/support/pass-time.ts';
import { until } from '../../core/test/support/until.ts';
import { MessageOrder } from '../src/sqs/message-order.ts';
import { AwsEmulator } from './support/aws-emulator.ts';
import { failing, SqsEngine } from './support/sqs-engine.ts';

let emulator: AwsEmulator;

beforeAll(async () => {
  emulator = await AwsEmulator.start();
});

afterAll(async () => {
  await emulator.close();
});

const soon = (): AbortSignal => AbortSignal.timeout(50_000);

async function openEngine(options: Parameters<typeof SqsEngine.create>[1] = {}): Promise<SqsEngine> {
  const engine = await SqsEngine.create(emulator, options);
  onTestFinished(() => engine.remove());
  return engine;
}

async function openSource(engine: SqsEngine, visibilityMs = 1000): Promise<RecordSource> {
  const source = await openSqsSource({ url: engine.url, visibilityMs, openTimeoutMs: 60_000 });
  onTestFinished(() => source.close());
  return source;
}

async function openSink(engine: SqsEngine): ReturnType<typeof openSqsSink> {
  const sink = await engine.open();
  onTestFinished(() => sink.close());
  return sink;
}

function recordsOf(stream: string, count: number, bytes = 10): SinkRecord[] {
  return Array.from({ length: count }, (_, seq) => ({
    stream,
    seq,
    value: Buffer.from(`${stream} ${seq} `.padEnd(bytes, '.')),
  }));
}

function idsOf(items: readonly unknown[]): string[] {
  return (items as readonly SinkRecord[]).map(({ seq, stream }) => `${stream} ${seq}`);
}

test('promise 15: of a batch a message that fails alone does not get behind those that follow it', async () => {
  const engine = await openEngine();
  const sink = await openSink(engine);
  const records = [...recordsOf('a', 4), ...recordsOf('b', 4)];
  engine.front.intercept = failing(({ seq, stream }) => stream === 'a' && seq === 1, {
    Code: 'InternalError',
    SenderFault: false,
  });
  await expect(sink.write(records, soon())).rejects.toMatchObject({ code: 'sink_failed' });
  engine.front.intercept = (asked, forward) => forward(asked);
  await sink.write(records, soon());
  const found = await engine.records();
  expect(idsOf(found.filter(({ stream }) => stream === 'a'))).toEqual(['a 0', 'a 1', 'a 2', 'a 3']);
  expect(found).toHaveLength(8);
});

test.each(['KmsThrottled', 'RequestThrottled', 'KmsAccessDenied'])(
  'promise 15: %s is no fault of a record, whoever SQS says is to blame',
  async (Code) => {
    const engine = await openEngine();
    const sink = await openSink(engine);
    engine.front.intercept = failing(() => true, { Code, SenderFault: true });
    await expect(sink.write(recordsOf('a', 1), soon())).rejects.toMatchObject({ code: 'sink_failed' });
  },
);

test('promise 15: every record is read in order and none is lost, whatever crashes', async () => {
  const randomness = new VirtualClock({ seed: 7 });
  const engine = await openEngine({ maxEntryBytes: 1024 });
  const sink = await openSink(engine);
  const written = ['a', 'b', 'c'].map((stream) => recordsOf(stream, 12));
  // Some are split: the tenth of each has more than ten parts.
  for (const records of written) Object.assign(records[9] ?? {}, { value: Buffer.alloc(12_000, 'long') });
  const got = new Map<string, number[]>();
  const done = new Map<string, number>();
  await sink.write(written.flat(), soon());
  let front = await emulator.front();
  const open = (): Promise<RecordSource> =>
    openSqsSource({ url: engine.urlBehind(front), visibilityMs: 1000, openTimeoutMs: 60_000 });
  let source = await open();
  let acknowledged = 0;
  while (acknowledged < 36) {
    const items = (await source.read({ maxItems: 5 }, soon())) as readonly SinkRecord[];
    for (const { seq, stream, value } of items) {
      const last = (got.get(stream) ?? []).at(-1) ?? (done.get(stream) ?? 0) - 1;
      expect(`${stream} ${seq}`).toBe(`${stream} ${last + 1}`);
      expect(Buffer.from(value)).toEqual(
        written.flat().find((r) => r.stream === stream && r.seq === seq)?.value,
      );
      got.set(stream, [...(got.get(stream) ?? []), seq]);
    }
    const moment = randomness.random();
    if (moment < 0.1) {
      // Cut off as if its process had ended: it cannot say any more that its messages are in hand.
      front.cut();
      void source.close();
      front = await emulator.front();
      source = await open();
      got.clear();
      continue;
    }
    await source.acknowledge(items, soon());
    acknowledged += items.length;
    for (const { seq, stream } of items) done.set(stream, seq + 1);
    if (moment < 0.2) {
      await source.close();
      source = await open();
      got.clear();
    }
  }
  expect([...done]).toEqual(
    expect.arrayContaining([
      ['a', 12],
      ['b', 12],
      ['c', 12],
    ]),
  );
  await source.close();
  front.cut();
});

test('promise 15: a read that waits while SQS fails loses nothing, and no order', async () => {
  const engine = await openEngine();
  const sink = await openSqsSink({
    url: engine.urlBehind({ url: emulator.url }),
    openTimeoutMs: 60_000,
  });
  const source = await openSource(engine);
  const items: SinkRecord[] = [];
  for (let round = 0; round < 3; round += 1) {
    const waiting = source.read({ maxItems: 7 }, soon()).catch(() => []);
    await until(() => engine.front.requests > 0);
    engine.front.requests = 0;
    // What it was to receive goes to a connection that is gone, and comes again.
    engine.fail();
    await sink.write(recordsOf('a', 3 * (round + 1)).slice(3 * round), soon());
    await engine.heal();
    const came = [...(await waiting)];
    await source.acknowledge(came, soon());
    items.push(...(came as SinkRecord[]));
    while (items.length < 3 * (round + 1)) {
      const read = await source.read({ maxItems: 7 }, soon());
      await source.acknowledge(read, soon());
      items.push(...(read as SinkRecord[]));
    }
  }
  expect(idsOf(items)).toEqual(idsOf(recordsOf('a', 9)));
  await sink.close();
});

test('promise 15: calls after a close reject, and what was not acknowledged comes again at once, in its order', async () => {
  const engine = await openEngine();
  const records = [...recordsOf('a', 2), ...recordsOf('b', 2)];
  await (await openSink(engine)).write(records, soon());
  // Nothing comes again by itself in this time.
  const early = await openSource(engine, 600_000);
  const items = await early.read({ maxItems: 2 }, soon());
  await early.close();
  const closed = { code: 'source_closed' };
  await expect(early.read({ maxItems: 1 }, soon())).rejects.toMatchObject(closed);
  await expect(early.acknowledge(items, soon())).rejects.toMatchObject(closed);
  await expect(early.lag(soon())).rejects.toMatchObject(closed);
  const source = await openSource(engine);
  const found: SinkRecord[] = [];
  while (found.length < records.length) {
    const read = await source.read({ maxItems: 10 }, soon());
    await source.acknowledge(read, soon());
    found.push(...(read as SinkRecord[]));
  }
  for (const stream of ['a', 'b'])
    expect(idsOf(found.filter((record) => record.stream === stream))).toEqual(idsOf(recordsOf(stream, 2)));
});

test('promise 15: while a record is in hand nobody else gets it, however long the work takes', async () => {
  const engine = await openEngine();
  await (await openSink(engine)).write(recordsOf('a', 1), soon());
  // So long that a busy machine has its turn in time.
  const source = await openSource(engine, 3000);
  const items = await source.read({ maxItems: 1 }, soon());
  const others = await engine.client.send(
    new ReceiveMessageCommand({ QueueUrl: engine.queueUrl, WaitTimeSeconds: 5 }),
  );
  expect(others.Messages).toBeUndefined();
  await source.acknowledge(items, soon());
  expect(await source.lag(soon())).toEqual({ records: 0, bytes: undefined, ms: 0 });
});

test('promise 15: a record that is received again while it is in hand is not given again, and is acknowledged', async () => {
  const engine = await openEngine();
  await (await openSink(engine)).write([...recordsOf('a', 1), ...recordsOf('b', 1)], soon());
  const source = await openSource(engine);
  const [first] = await source.read({ maxItems: 1 }, soon());
  // Nobody can say now that it is in hand.
  engine.fail();
  await sleep(1500);
  await engine.heal();
  const [second] = await source.read({ maxItems: 1 }, soon());
  expect(idsOf([first, second])).toEqual(['a 0', 'b 0']);
  await source.read({ maxItems: 1 }, AbortSignal.timeout(300)).catch(() => undefined);
  await source.acknowledge(
    [first, second].flatMap((item) => item ?? []),
    soon(),
  );
  await sleep(1200);
  expect((await source.lag(soon())).records).toBe(0);
});

test('a message that nobody of ours has written is a record of the queue’s stream, with a number that ascends over restarts', async () => {
  const engine = await openEngine({ isFifo: false });
  for (const body of ['one', 'two'])
    await engine.client.send(
      new SendMessageCommand({
        QueueUrl: engine.queueUrl,
        MessageBody: body,
        MessageAttributes: { kind: { DataType: 'String', StringValue: 'note' } },
      }),
    );
  const open = (): Promise<RecordSource> =>
    openSqsSource({
      url: engine.url,
      stream: 'notes',
      openTimeoutMs: 60_000,
      decode: ({ attributes, body, receiveCount }) =>
        Buffer.from(`${attributes.get('kind')} ${body} ${receiveCount}`),
    });
  const found: SinkRecord[] = [];
  for (let round = 0; round < 2; round += 1) {
    const source = await open();
    const items = await source.read({ maxItems: 1 }, soon());
    found.push(...(items as SinkRecord[]));
    await source.acknowledge(items, soon());
    await source.close();
  }
  expect(found.map(({ value }) => Buffer.from(value).toString())).toEqual(['note one 1', 'note two 1']);
  expect(found.map(({ stream }) => stream)).toEqual(['notes', 'notes']);
  const [one, two] = found;
  expect(two?.seq).toBeGreaterThan(one?.seq ?? Infinity);
});

test('what comes late from a dead-letter queue is new, and not taken for one that is known', async () => {
  const engine = await openEngine();
  const [zero, one] = recordsOf('a', 2);
  if (zero === undefined || one === undefined) return;
  await (await openSink(engine)).write([one], soon());
  const source = await openSource(engine);
  const items = [...(await source.read({ maxItems: 1 }, soon()))];
  await source.acknowledge(items, soon());
  await (await openSink(engine)).write([zero], soon());
  expect(idsOf(await source.read({ maxItems: 1 }, soon()))).toEqual(['a 0']);
});

test('promise 15: a queue that takes smaller messages, or is made anew, is asked again within 5 s', async () => {
  const engine = await openEngine();
  const sink = await openSink(engine);
  const [first, large, last] = recordsOf('a', 3, 5000);
  if (first === undefined || large === undefined || last === undefined) return;
  await sink.write([first], soon());
  const { client, queueUrl } = engine;
  const Attributes = { MaximumMessageSize: '1024' };
  await client.send(new SetQueueAttributesCommand({ QueueUrl: queueUrl, Attributes }));
  passTime(5001);
  await sink.write([large], soon());
  expect(await engine.records()).toEqual([first, large]);
  expect(sink.facts.forgot).toBeUndefined();
  await client.send(new DeleteQueueCommand({ QueueUrl: queueUrl }));
  // Queues say in seconds when they were made.
  await sleep(1100);
  const QueueName = queueUrl.split('/').at(-1);
  await client.send(
    new CreateQueueCommand({ QueueName, Attributes: { FifoQueue: 'true', MaximumMessageSize: '4096' } }),
  );
  passTime(5001);
  await sink.write([last], soon());
  expect(sink.facts.forgot).toEqual({ times: 1, why: expect.stringContaining('was made anew') });
});

test('the lag of a group is what is in the queue of that name', async () => {
  const engine = await openEngine();
  const sink = await openSink(engine);
  await sink.write(recordsOf('a', 3), soon());
  const { Messages: [message] = [] } = await engine.client.send(
    new ReceiveMessageCommand({ QueueUrl: engine.queueUrl }),
  );
  const name = engine.queueUrl.split('/').at(-1) ?? '';
  expect(await sink.lagOf?.(name, soon())).toEqual({ entries: 3, ms: undefined });
  await engine.client.send(
    new DeleteMessageCommand({ QueueUrl: engine.queueUrl, ReceiptHandle: message?.ReceiptHandle }),
  );
  expect(await sink.lagOf?.(name, soon())).toEqual({ entries: 2, ms: undefined });
  await expect(sink.lagOf?.('nobody.fifo', soon())).rejects.toMatchObject({ code: 'sink_failed' });
});

test('promise 15: a stream keeps its order, whenever the other parts of its records come', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.nat()),
      (sizes, picks) => {
        const order = new MessageOrder();
        // What has no order, and what has one.
        const free = sizes.flatMap((parts, seq) =>
          Array.from({ length: parts - 1 }, (_, part) => ({ seq, part, parts })),
        );
        const ordered = sizes.map((parts, seq) => ({ seq, part: parts - 1, parts }));
        const came: string[] = [];
        while (free.length + ordered.length > 0) {
          const pick = Number(picks.next().value) % (free.length + 1);
          const [next] = pick < free.length ? free.splice(pick, 1) : ordered.splice(0, 1);
          if (next === undefined) continue;
          const value = Buffer.from(`${next.seq}.${next.part} `);
          const message = { id: '', sentMs: 0, receipt: '', receivedMs: 0 };
          const { records } = order.add({ stream: 'a', value, ...next }, message);
          came.push(...records.map(({ record }) => Buffer.from(record.value).toString()));
        }
        expect(came).toEqual(
          sizes.map((parts, seq) => Array.from({ length: parts }, (_, part) => `${seq}.${part} `).join('')),
        );
      },
    ),
  );
});
