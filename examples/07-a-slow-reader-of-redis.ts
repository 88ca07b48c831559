/**
 * A program writes a transcript into a stream of Redis every 250 ms, and keeps the latest 1000 of them. This one brings them
 * into S3, at a store that takes half a second for each write. It takes what is there at once, so that it keeps up, beside a
 * queue that writes one after the other and does not. While it was away the stream has dropped some: that is a gap with its
 * range.
 *
 *     redis-server --port 6380 --save '' &
 *     node examples/07-a-slow-reader-of-redis.ts redis://127.0.0.1:6380 's3://my-bucket/transcripts?region=eu-central-1'
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { openS3Sink } from '@spillway/aws';
import type { RecordSink, SinkRecord } from '@spillway/core';
import { copyRecords } from '@spillway/core/copy-records';
import { openRedisSource } from '@spillway/redis';

const [url = 'redis://127.0.0.1:6379', store = 's3://my-bucket/transcripts', seconds = '10'] =
  process.argv.slice(2);
const key = `transcripts-${process.pid}`;

/** A folder of the store, and what was written there. */
class Folder {
  count = 0;
  writes = 0;
  readonly #sink: RecordSink;

  private constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  static async open(name: string): Promise<Folder> {
    const [place = '', query = ''] = store.split('?');
    return new Folder(await openS3Sink({ url: `${place}/${name}?${query}`, openTimeoutMs: 30_000 }));
  }

  async write(records: readonly SinkRecord[]): Promise<void> {
    await this.#sink.write(records, AbortSignal.timeout(30_000));
    this.writes += 1;
    this.count += records.length;
  }

  async close(): Promise<void> {
    await this.#sink.close();
  }
}

/** The queue that everybody writes first: one write for each transcript, and what comes meanwhile waits. */
class NaiveQueue {
  readonly #folder: Folder;
  readonly #waiting: SinkRecord[] = [];
  #seq = 0;
  #isWriting = false;

  constructor(folder: Folder) {
    this.#folder = folder;
  }

  get depth(): number {
    return this.#waiting.length;
  }

  push(text: string): void {
    this.#waiting.push({ stream: 'naive', seq: this.#seq, value: Buffer.from(text) });
    this.#seq += 1;
    if (!this.#isWriting) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      await this.#folder.write(this.#waiting.slice(0, 1));
      this.#waiting.shift();
    }
    this.#isWriting = false;
  }
}

/** When an entry was added: its id begins with that. */
function timeOf(id: string): string {
  return new Date(Number.parseInt(id, 10)).toISOString().slice(11, 23);
}

const producer = createClient({ url });
await producer.connect();
const add = (text: string): Promise<unknown> =>
  producer.sendCommand(['XADD', key, 'MAXLEN', '=', '1000', '*', 'text', text]);

// A reader that has had one transcript is away for the next 1,200.
await add('transcript 0');
const early = await openRedisSource({ url: `${url}?stream=${key}`, name: 'archive' });
await early.acknowledge(
  await early.read({ maxItems: 1 }, AbortSignal.timeout(5000)),
  AbortSignal.timeout(5000),
);
await early.close();
for (let index = 1; index <= 1200; index += 1) await add(`transcript ${index}`);

const [archive, alone] = await Promise.all([Folder.open(key), Folder.open(`${key}-naive`)]);
const source = await openRedisSource({ url: `${url}?stream=${key}`, name: 'archive' });
const stop = new AbortController();
const copying = copyRecords(source, archive, {
  maxItems: 500,
  signal: stop.signal,
  onGap: ({ from, maxRecords, reason, to }) =>
    console.log(`${maxRecords} transcripts are missing, from ${timeOf(from)} to ${timeOf(to)}: ${reason}`),
});
const behind = async (): Promise<number> => (await source.lag(AbortSignal.timeout(5000))).records;
while ((await behind()) > 0) await sleep(20);
console.log(`${archive.count} that were left are written, in ${archive.writes} writes`);

const naive = new NaiveQueue(alone);
let deepest = 0;
for (let index = 0; index < Number(seconds) * 4; index += 1) {
  await add(`transcript ${1201 + index}`);
  naive.push(`transcript ${1201 + index}`);
  await sleep(250);
  deepest = Math.max(deepest, await behind());
}
console.log(
  `after ${seconds} s, one every 250 ms, ${archive.count} are written, in ${archive.writes} writes:`,
);
console.log(`a naive queue is ${naive.depth} deep, and grows`);
console.log(`this reader was never more than ${deepest} behind, what it was writing included`);

while ((await behind()) > 0) await sleep(20);
stop.abort();
await copying;
await source.close();
await archive.close();
await producer.sendCommand(['DEL', key, `{${key}}:reader:archive`]);
producer.destroy();
process.exit();
