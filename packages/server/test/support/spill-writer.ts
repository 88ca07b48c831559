/**
 * Writes records of one stream to a file through a spill, over and over, until it is killed: their numbers are on standard
 * output when they are acknowledged. The engine fails and comes back every few milliseconds, and is slow. With `drain` it
 * writes nothing, and ends when nothing is spilled; with `fill` the disk is to be full.
 */
import { rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type RecordSink, SpillwayError } from '@spillway/core';
import { openFileSink } from '../../src/tap/sinks/file-sink.ts';
import { openSpillSink } from '../../src/tap/sinks/spill-sink.ts';
import { lineRecord, recordsIn } from './lines.ts';
import { quickClock } from './quick-clock.ts';

const [, , folder = '', from = '0', mode = 'write'] = process.argv;
const never = new AbortController().signal;
const file = await openFileSink(join(folder, 'engine.jsonl'), { clock: quickClock });
let isUp = mode !== 'fill';
if (mode === 'write') setInterval(() => (isUp = Math.random() < 0.5), 10);

const engine: RecordSink = {
  durability: file.durability,
  async write(records, signal) {
    if (!isUp) throw new Error('down');
    await new Promise((resolve) => setTimeout(resolve, 2));
    await file.write(records, signal);
  },
  close: () => file.close(),
};
const sink = await openSpillSink(engine, {
  path: join(folder, 'spill'),
  engineTimeoutMs: 5000,
  clock: quickClock,
});

const batchFrom = (first: number, length: number) =>
  Array.from({ length }, (_, index) => {
    const seq = first + index;
    return lineRecord('a', seq, 'x'.repeat((seq * 37) % 500));
  });

async function drained(): Promise<void> {
  while (sink.spilledRecords > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

if (mode === 'drain') {
  await drained();
  await sink.close();
} else if (mode === 'fill') {
  // What is on the same disk takes most of the room.
  const ballast = join(folder, 'ballast');
  writeFileSync(ballast, Buffer.alloc(statfsSync(folder).bavail * 4096 - 100_000));
  let next = 0;
  const write = async (): Promise<void> => {
    await sink.write(batchFrom(next, 5), never);
    next += 5;
  };
  for (let failures = 0; failures < 5;) {
    const error: unknown = await write().catch((thrown: unknown) => thrown);
    if (error === undefined) continue;
    if (!(error instanceof SpillwayError) || error.code !== 'sink_failed') {
      throw new Error('expected a write that says sink_failed', { cause: error });
    }
    failures += 1;
  }
  writeSync(1, `full at ${next}\n`);
  rmSync(ballast);
  await write();
  isUp = true;
  await drained();
  await sink.close();
  const seqs = recordsIn(folder).map(({ seq }) => seq);
  if (seqs.some((seq, index) => seq !== index))
    throw new Error(`expected all in order, got ${seqs.join(' ')}`);
  writeSync(1, `engine has ${seqs.length} of ${next}\n`);
} else {
  for (let next = Number(from); ;) {
    const length = 1 + (next % 20);
    await sink.write(batchFrom(next, length), never);
    next += length;
    writeSync(1, `${next - 1}\n`);
  }
}
