import { randomBytes } from 'node:crypto';
import { openS3Sink, readS3Records } from '@spillway/aws';
import type { SinkRecord } from '@spillway/core';
import { RefusedRecords } from '@spillway/core/engine';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { AwsFront } from './support/aws-front.ts';
import { S3Engine } from './support/s3-engine.ts';
import { StrictS3 } from './support/strict-s3.ts';
import './support/aws-emulator.ts';

let store: StrictS3;

beforeAll(async () => {
  store = await StrictS3.start(7);
});

afterAll(async () => {
  await store.close();
});

const soon = (): AbortSignal => AbortSignal.timeout(50_000);

function recordsOf(stream: string, from: number, to: number, text = ''): SinkRecord[] {
  return Array.from({ length: to - from }, (_, index) => ({
    stream,
    seq: from + index,
    value: Buffer.from(`{"n":${from + index}}${text}`),
  }));
}

function idsOf(records: readonly SinkRecord[]): string[] {
  return records.map(({ seq, stream }) => `${stream} ${seq}`);
}

async function engineOf(): Promise<S3Engine> {
  const engine = await S3Engine.create(store.port);
  onTestFinished(() => engine.remove());
  return engine;
}

/** A sink behind a front of its own. */
async function openBehind(engine: S3Engine, front: AwsFront): ReturnType<typeof openS3Sink> {
  const sink = await openS3Sink({
    url: engine.url.replace(engine.front.url, front.url),
    openTimeoutMs: 60_000,
  });
  onTestFinished(() => sink.close());
  return sink;
}

async function openFront(): Promise<AwsFront> {
  const one = await AwsFront.start(store.port);
  onTestFinished(() => one.cut());
  return one;
}

async function read(engine: S3Engine, after?: string): Promise<(SinkRecord & { object: string })[]> {
  const found = [];
  for await (const record of readS3Records({ url: engine.url, ...(after !== undefined && { after }) }))
    found.push(record);
  return found;
}

describe.each(['known', 'refused', 'ignored'] as const)(
  'in a store where conditions are %s',
  (conditions) => {
    beforeAll(() => {
      store.conditions = conditions;
    });

    test('promise 15: what a process that has died had under way comes late, and takes nothing away', async () => {
      const engine = await engineOf();
      const dying = await openFront();
      const early = await openBehind(engine, dying);
      await early.write(recordsOf('a', 0, 2), soon());
      dying.hang();
      const stop = new AbortController();
      const late = early.write([...recordsOf('a', 2, 4, ' late'), ...recordsOf('z', 0, 1)], stop.signal);
      late.catch(() => undefined);
      // The next process has the same to write, and more.
      const sink = await engine.open();
      await sink.write([...recordsOf('a', 2, 3, ' late'), ...recordsOf('b', 0, 2)], soon());
      await dying.heal();
      await late;
      await sink.write([...recordsOf('a', 3, 5), ...recordsOf('b', 2, 3)], soon());
      await sink.close();
      const ids = idsOf(await read(engine)).toSorted();
      expect(ids).toEqual(['a 0', 'a 1', 'a 2', 'a 3', 'a 4', 'b 0', 'b 1', 'b 2', 'z 0']);
      if (conditions === 'known') expect(idsOf(await engine.records()).toSorted()).toEqual(ids);
    });

    test('promise 15: two that write at once to one prefix lose nothing of each other', async () => {
      const engine = await engineOf();
      const [one, other] = [await engine.open(), await engine.open()];
      for (let round = 0; round < 10; round += 1) {
        await Promise.all([
          one.write(recordsOf('a', round, round + 1), soon()),
          other.write(recordsOf('b', round, round + 1), soon()),
        ]);
      }
      const found = await engine.records();
      for (const stream of ['a', 'b'])
        expect(idsOf(found.filter((record) => record.stream === stream))).toEqual(
          idsOf(recordsOf(stream, 0, 10)),
        );
      await one.close();
      await other.close();
    });
  },
);

test('promise 15: a write of which nobody knows is repeated as it was, before anything else is written', async () => {
  store.conditions = 'known';
  const engine = await engineOf();
  const sink = await engine.open();
  engine.hang();
  await expect(sink.write(recordsOf('a', 0, 2), AbortSignal.timeout(300))).rejects.toThrow('timeout');
  await engine.heal();
  await sink.write([...recordsOf('a', 0, 2), ...recordsOf('b', 0, 1)], soon());
  const found = await engine.records();
  expect(idsOf(found)).toEqual(['a 0', 'a 1', 'b 0']);
  expect(await engine.keys()).toHaveLength(2);
  await sink.close();
});

test('promise 15: a sink that is opened after many objects knows all streams, and reads only the newest', async () => {
  store.conditions = 'known';
  const engine = await engineOf();
  const early = await engine.open();
  for (let index = 0; index < 130; index += 1) await early.write(recordsOf(`s${index}`, 0, 2), soon());
  // It is not closed: its process has ended, and the manifest is of the hundredth object.
  const before = engine.front.requests;
  const sink = await engine.open();
  expect(engine.front.requests - before).toBeLessThan(45);
  await sink.write(Array.from({ length: 130 }, (_, index) => recordsOf(`s${index}`, 0, 2)).flat(), soon());
  expect(await engine.keys()).toHaveLength(130);
  await sink.close();
});

test('objects are JSON lines behind their head, and reading goes on behind one', async () => {
  store.conditions = 'known';
  const engine = await engineOf();
  const sink = await engine.open();
  await sink.write([...recordsOf('a', 0, 2), ...recordsOf('b', 0, 1)], soon());
  const [first] = await read(engine);
  await sink.write(recordsOf('a', 2, 3), soon());
  expect(first?.object).toBe('0000000000000001.jsonl.gz');
  expect(idsOf(await read(engine))).toEqual(['a 0', 'a 1', 'b 0', 'a 2']);
  expect(idsOf(await read(engine, first?.object))).toEqual(['a 2']);
  await sink.close();
});

test('what a store knows of conditions is found out, and said', async () => {
  for (const conditions of ['known', 'refused', 'ignored'] as const) {
    store.conditions = conditions;
    const engine = await engineOf();
    const sink = await engine.open();
    expect(sink.facts.warnings.some((warning) => warning.includes('If-None-Match'))).toBe(
      conditions !== 'known',
    );
    expect(sink.durability).toBe('memory');
    expect(sink.address).toMatch(/^s3:\/\/records\/folder-\d+ at 127\.0\.0\.1:\d+$/);
    await sink.close();
  }
});

test('promise 15: a record that a store does not take for its size is refused, and the others are kept', async () => {
  store.conditions = 'known';
  const engine = await engineOf();
  const sink = await engine.open();
  store.maxBodyBytes = 100_000;
  onTestFinished(() => {
    store.maxBodyBytes = Infinity;
  });
  const huge = { stream: 'a', seq: 2, value: randomBytes(150_000) };
  const batch = [...recordsOf('a', 0, 2), huge, ...recordsOf('a', 3, 5), ...recordsOf('b', 0, 3)];
  const error = await sink.write(batch, soon()).catch((came: unknown) => came);
  expect(error).toBeInstanceOf(RefusedRecords);
  expect(error instanceof RefusedRecords && error.refused.map(({ record }) => record === huge)).toEqual([
    true,
  ]);
  expect(String(error)).toContain('bytes at once');
  const ids = ['a 0', 'a 1', 'a 3', 'a 4', 'b 0', 'b 1', 'b 2'];
  expect(idsOf(await engine.records()).toSorted()).toEqual(ids);
  // Several that are too large together are taken in smaller objects.
  const large = [0, 1, 2].map((seq) => ({ stream: 'c', seq, value: randomBytes(60_000) }));
  await sink.write(large, soon());
  expect(idsOf(await engine.records()).toSorted()).toEqual([...ids, 'c 0', 'c 1', 'c 2']);
  await sink.close();
});
