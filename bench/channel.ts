import { PassThrough } from 'node:stream';
import { Repeater, FixedBuffer } from '@repeaterjs/repeater';
import { type Channel, openChannel } from '@spillway/core';
import { Effect, Queue } from 'effect';
import fastq from 'fastq';
import streamx from 'streamx';
import { quantile } from './programs.ts';

/** Carries so many items from one producer to one consumer through a bounded queue of that capacity. */
type Carry = (items: number, capacity: number) => Promise<void> | void;

const rounds = 7;
const items = 200_000;

/**
 * The yardstick: a ring with nothing but a promise hand-off. The producer waits for the consumer when it
 * is full, the consumer for the producer when it is empty.
 */
async function bareRing(count: number, capacity: number): Promise<void> {
  const slots = new Array<number>(capacity).fill(0);
  let head = 0;
  let tail = 0;
  let wakeReader: (() => void) | undefined;
  let wakeWriter: (() => void) | undefined;
  const write = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      if (head - tail === capacity) await new Promise<void>((resolve) => (wakeWriter = resolve));
      slots[head & (capacity - 1)] = item;
      head += 1;
      wakeReader?.();
      wakeReader = undefined;
    }
  };
  const read = async (): Promise<void> => {
    let sum = 0;
    for (let taken = 0; taken < count; taken += 1) {
      if (tail === head) await new Promise<void>((resolve) => (wakeReader = resolve));
      sum += slots[tail & (capacity - 1)] ?? 0;
      tail += 1;
      if (tail === head) {
        wakeWriter?.();
        wakeWriter = undefined;
      }
    }
    check(sum, count);
  };
  await Promise.all([write(), read()]);
}

/** The same, with an await for every item on both sides: what "one by one" means for a peer. */
async function bareRingAwaited(count: number, capacity: number): Promise<void> {
  const slots = new Array<number>(capacity).fill(0);
  let head = 0;
  let tail = 0;
  let wakeReader: (() => void) | undefined;
  let wakeWriter: (() => void) | undefined;
  const put = (item: number): Promise<void> | undefined => {
    slots[head & (capacity - 1)] = item;
    head += 1;
    wakeReader?.();
    wakeReader = undefined;
    return head - tail === capacity ? new Promise<void>((resolve) => (wakeWriter = resolve)) : undefined;
  };
  const write = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) await put(item);
  };
  const read = async (): Promise<void> => {
    let sum = 0;
    for (let taken = 0; taken < count; taken += 1) {
      await (tail === head ? new Promise<void>((resolve) => (wakeReader = resolve)) : undefined);
      sum += slots[tail & (capacity - 1)] ?? 0;
      tail += 1;
      if (head - tail <= capacity / 2) {
        wakeWriter?.();
        wakeWriter = undefined;
      }
    }
    check(sum, count);
  };
  await Promise.all([write(), read()]);
}

/** Writes so many numbers, waiting only when the channel is full. */
async function offerAll(channel: Channel<number>, count: number): Promise<void> {
  for (let item = 0; item < count; item += 1) {
    if (channel.offer(item) !== 'accepted') await channel.write(item);
  }
  channel.complete();
}

/** The synchronous path: offer until it is full, wait only then. */
async function spillwaySync(count: number, capacity: number): Promise<void> {
  const channel = openChannel<number>({ maxItems: capacity });
  const reader = channel.reader();
  const read = async (): Promise<void> => {
    let sum = 0;
    while (await reader.ready()) {
      for (let item = reader.take(); item !== undefined; item = reader.take()) sum += item;
    }
    check(sum, count);
  };
  await Promise.all([offerAll(channel, count), read()]);
}

async function spillwayBatches(count: number, capacity: number): Promise<void> {
  const channel = openChannel<number>({ maxItems: capacity });
  const reader = channel.reader();
  const read = async (): Promise<void> => {
    let sum = 0;
    while (await reader.ready()) for (const item of reader.takeAll()) sum += item;
    check(sum, count);
  };
  await Promise.all([offerAll(channel, count), read()]);
}

async function spillwayAwaited(count: number, capacity: number): Promise<void> {
  const channel = openChannel<number>({ maxItems: capacity });
  const reader = channel.reader();
  const write = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) await channel.write(item);
    channel.complete();
  };
  const read = async (): Promise<void> => {
    let sum = 0;
    for await (const item of reader) sum += item;
    check(sum, count);
  };
  await Promise.all([write(), read()]);
}

async function webStreams(count: number, capacity: number): Promise<void> {
  const { readable, writable } = new TransformStream<number, number>(
    undefined,
    { highWaterMark: capacity },
    { highWaterMark: capacity },
  );
  const writer = writable.getWriter();
  const write = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      if ((writer.desiredSize ?? 0) <= 0) await writer.ready;
      void writer.write(item);
    }
    await writer.close();
  };
  const read = async (): Promise<void> => {
    let sum = 0;
    const reader = readable.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) sum += next.value;
    check(sum, count);
  };
  await Promise.all([write(), read()]);
}

async function passThrough(count: number, capacity: number): Promise<void> {
  const stream = new PassThrough({ objectMode: true, highWaterMark: capacity });
  const write = async (): Promise<void> => {
    for (let item = 1; item <= count; item += 1) {
      if (!stream.write(item)) await new Promise((resolve) => stream.once('drain', resolve));
    }
    stream.end();
  };
  const read = new Promise<void>((resolve) => {
    let sum = 0;
    stream.on('data', (item: number) => (sum += item));
    stream.on('end', () => {
      check(sum - count, count);
      resolve();
    });
  });
  await Promise.all([write(), read]);
}

async function streamxPassThrough(count: number, capacity: number): Promise<void> {
  const stream = new streamx.PassThrough({ highWaterMark: capacity, byteLength: () => 1 });
  const write = async (): Promise<void> => {
    for (let item = 1; item <= count; item += 1) {
      if (!stream.write(item)) await new Promise<void>((resolve) => stream.once('drain', () => resolve()));
    }
    (stream as unknown as { end(): void }).end();
  };
  const read = new Promise<void>((resolve) => {
    let sum = 0;
    stream.on('data', (item: unknown) => (sum += item as number));
    stream.on('end', () => {
      check(sum - count, count);
      resolve();
    });
  });
  await Promise.all([write(), read]);
}

async function effectQueue(count: number, capacity: number): Promise<void> {
  await Effect.runPromise(
    Effect.gen(function* () {
      const queue = yield* Queue.bounded<number>(capacity);
      const write = Effect.gen(function* () {
        for (let item = 0; item < count; item += 1) yield* Queue.offer(queue, item);
      });
      const read = Effect.gen(function* () {
        let sum = 0;
        for (let taken = 0; taken < count; taken += 1) sum += yield* Queue.take(queue);
        check(sum, count);
      });
      yield* Effect.all([write, read], { concurrency: 2 });
    }),
  );
}

async function effectQueueBatches(count: number, capacity: number): Promise<void> {
  await Effect.runPromise(
    Effect.gen(function* () {
      const queue = yield* Queue.bounded<number>(capacity);
      const write = Effect.gen(function* () {
        for (let item = 0; item < count; item += 1) yield* Queue.offer(queue, item);
      });
      const read = Effect.gen(function* () {
        let sum = 0;
        for (let taken = 0; taken < count;) {
          for (const item of yield* Queue.takeBetween(queue, 1, capacity)) {
            sum += item;
            taken += 1;
          }
        }
        check(sum, count);
      });
      yield* Effect.all([write, read], { concurrency: 2 });
    }),
  );
}

/** fastq has no bound of its own; its documentation's way is to wait for `drain` when `length` is reached. */
async function fastqQueue(count: number, capacity: number): Promise<void> {
  let sum = 0;
  const queue = fastq<unknown, number, void>((item, done) => {
    sum += item;
    queueMicrotask(() => done(null));
  }, 1);
  let drained: (() => void) | undefined;
  queue.drain = () => drained?.();
  for (let item = 0; item < count; item += 1) {
    queue.push(item);
    if (queue.length() >= capacity) await new Promise<void>((resolve) => (drained = resolve));
  }
  if (!queue.idle()) await new Promise<void>((resolve) => (drained = resolve));
  check(sum, count);
}

async function repeater(count: number, capacity: number): Promise<void> {
  const source = new Repeater<number>(async (push, stop) => {
    for (let item = 0; item < count; item += 1) await push(item);
    stop();
  }, new FixedBuffer(capacity));
  let sum = 0;
  for await (const item of source) sum += item;
  check(sum, count);
}

const oneByOne: Readonly<Record<string, Carry>> = {
  'bare ring': bareRing,
  'spillway, offer and take': spillwaySync,
  'bare ring, an await an item': bareRingAwaited,
  'spillway, write and for await': spillwayAwaited,
  'effect Queue': effectQueue,
  fastq: fastqQueue,
  'PassThrough, objects': passThrough,
  streamx: streamxPassThrough,
  'web streams': webStreams,
  repeater,
};

const inBatches: Readonly<Record<string, Carry>> = {
  'spillway, takeAll': spillwayBatches,
  'effect Queue, takeBetween': effectQueueBatches,
};

/** Items per second through the channel and its peers, in turn in one run; figures are medians. */
export async function channelRates(): Promise<void> {
  for (const capacity of [64, 1024]) {
    const rates = await measure({ ...oneByOne, ...inBatches }, capacity);
    const own = (name: string): number => rates.get(name) ?? Number.NaN;
    const peers = [...rates].filter(([name]) => !name.startsWith('spillway') && !name.startsWith('bare'));
    const [fastest = ['', Number.NaN]] = peers.toSorted(([, a], [, b]) => b - a);
    for (const [name, rate] of [...rates].toSorted(([, a], [, b]) => b - a)) {
      console.log(
        `capacity ${capacity}: ${name.padEnd(32)} ${(rate / 1e6).toFixed(1).padStart(6)} M items/s`,
      );
    }
    console.log(
      `capacity ${capacity}: offer and take ${(own('spillway, offer and take') / fastest[1]).toFixed(1)} times and ` +
        `takeAll ${(own('spillway, takeAll') / fastest[1]).toFixed(1)} times the fastest peer (${fastest[0]}), ` +
        `${(own('spillway, offer and take') / own('bare ring')).toFixed(2)} of the bare ring; write and for await ` +
        `${(own('spillway, write and for await') / own('bare ring, an await an item')).toFixed(2)} of the ring with an await an item`,
    );
  }
  await manyReaders();
}

async function manyReaders(): Promise<void> {
  const count = items / 4;
  const carry: Carry = async (total, capacity) => {
    const bus = openChannel<number>({ maxItems: capacity });
    const readers = Array.from({ length: 10 }, () => bus.reader());
    await Promise.all([
      offerAll(bus, total),
      ...readers.map(async (reader) => {
        let sum = 0;
        while (await reader.ready()) {
          for (let item = reader.take(); item !== undefined; item = reader.take()) sum += item;
        }
        check(sum, total);
      }),
    ]);
  };
  const rates = await measure({ 'ten readers': carry }, 1024, count);
  console.log(
    `ten readers, capacity 1024: ${((rates.get('ten readers') ?? 0) / 1e6).toFixed(1)} M items/s, each to all ten`,
  );
}

async function measure(
  cases: Readonly<Record<string, Carry>>,
  capacity: number,
  count = items,
): Promise<Map<string, number>> {
  const rates = new Map<string, number[]>();
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, carry] of Object.entries(cases)) {
      const start = performance.now();
      await carry(count, capacity);
      const rate = count / ((performance.now() - start) / 1000);
      // The first round only warms up.
      if (round >= 0) rates.set(name, [...(rates.get(name) ?? []), rate]);
    }
  }
  return new Map([...rates].map(([name, values]) => [name, quantile(values, 0.5)]));
}

function check(sum: number, count: number): void {
  if (sum !== (count * (count - 1)) / 2) throw new Error(`items were lost: the sum is ${sum}`);
}
