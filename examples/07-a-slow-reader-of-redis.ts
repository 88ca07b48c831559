/**
 * A program writes a transcript into a stream of Redis every 250 ms, and keeps the latest 1000 of them. This one brings them
 * into a store that takes half a second for each write. It takes what is there at once, so that it keeps up, beside a queue
 * that writes one after the other and does not. While it was away the stream has dropped some: that is a gap with its range.
 *
 *     redis-server --port 6380 --save '' &
 *     node examples/07-a-slow-reader-of-redis.ts redis://127.0.0.1:6380
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { copyRecords } from '@spillway/core/copy-records';
import { openRedisSource } from '@spillway/redis';

const [url = 'redis://127.0.0.1:6379', seconds = '10'] = process.argv.slice(2);
const key = `transcripts-${process.pid}`;

/** Stands for an object store: each write takes half a second, whatever is in it. */
class SlowStore {
  count = 0;
  writes = 0;

  async write(records: readonly unknown[]): Promise<void> {
    await sleep(500);
    this.writes += 1;
    this.count += records.length;
  }
}

/** The queue that everybody writes first: one write for each transcript, and what comes meanwhile waits. */
class NaiveQueue {
  readonly store = new SlowStore();
  readonly #waiting: string[] = [];
  #isWriting = false;

  get depth(): number {
    return this.#waiting.length;
  }

  push(text: string): void {
    this.#waiting.push(text);
    if (!this.#isWriting) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      await this.store.write(this.#waiting.slice(0, 1));
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

const source = await openRedisSource({ url: `${url}?stream=${key}`, name: 'archive' });
const store = new SlowStore();
const stop = new AbortController();
const copying = copyRecords(source, store, {
  maxItems: 500,
  signal: stop.signal,
  onGap: ({ from, maxRecords, reason, to }) =>
    console.log(`${maxRecords} transcripts are missing, from ${timeOf(from)} to ${timeOf(to)}: ${reason}`),
});
const behind = async (): Promise<number> => (await source.lag(AbortSignal.timeout(5000))).records;
while ((await behind()) > 0) await sleep(20);
console.log(`${store.count} that were left are written, in ${store.writes} writes`);

const naive = new NaiveQueue();
let deepest = 0;
for (let index = 0; index < Number(seconds) * 4; index += 1) {
  await add(`transcript ${1201 + index}`);
  naive.push(`transcript ${1201 + index}`);
  await sleep(250);
  deepest = Math.max(deepest, await behind());
}
console.log(`after ${seconds} s, one every 250 ms, 500 ms a write:`);
console.log(`a naive queue is ${naive.depth} deep, and grows`);
console.log(`this reader was never more than ${deepest} behind, what it was writing included`);

stop.abort();
await copying;
await source.close();
await producer.sendCommand(['DEL', key, `{${key}}:reader:archive`]);
producer.destroy();
process.exit();
