import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecordSink, SinkRecord } from '@spillway/core';
import { openFileSink } from '../packages/server/src/tap/sinks/file-sink.ts';
import { openSpillSink, type SpillSink } from '../packages/server/src/tap/sinks/spill-sink.ts';
import { nodeClock } from '../packages/server/src/time/node-clock.ts';

const recordBytes = 1000;
const batchRecords = 250;

/**
 * What it takes to spill, to start with what is spilled, and to write it to an engine that is back: one that takes
 * everything at once, and a file that is synced. 100 MB and 1 GB, on the disk of the folder for temporary files.
 */
export async function spill(): Promise<void> {
  for (const megabytes of [100, 1000]) {
    for (const [name, openEngine] of Object.entries(engines)) {
      const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-spill-'));
      try {
        console.log(`${megabytes} MB, to ${name}: ${await measure(folder, megabytes * 1e6, openEngine)}`);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
  }
}

type OpenEngine = (folder: string) => Promise<RecordSink> | RecordSink;

const engines: Readonly<Record<string, OpenEngine>> = {
  'an engine that takes everything at once': () => engineOf(async () => {}),
  'a synced file': (folder) => openFileSink(join(folder, 'engine.jsonl'), { clock: nodeClock }),
};

function engineOf(write: RecordSink['write']): RecordSink {
  return { durability: 'memory', write, close: async () => {} };
}

async function measure(folder: string, bytes: number, openEngine: OpenEngine): Promise<string> {
  const path = join(folder, 'spill');
  const options = { path, maxBytes: 2 * bytes, clock: nodeClock };
  const down = engineOf(() => Promise.reject(new Error('down')));
  let sink: SpillSink = await openSpillSink(down, options);
  const spilling = performance.now();
  for (let from = 0; from < bytes / recordBytes; from += batchRecords) {
    await sink.write(records(from), new AbortController().signal);
  }
  const spilledMs = performance.now() - spilling;
  await sink.close();
  const engine = await openEngine(folder);
  const rssBytes = process.memoryUsage.rss();
  const opening = performance.now();
  sink = await openSpillSink(engine, options);
  const openedMs = performance.now() - opening;
  let peakBytes = 0;
  while (sink.spilledRecords > 0) {
    peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const drainedMs = performance.now() - opening;
  await sink.close();
  const rate = (ms: number): string => `${(bytes / 1000 / ms).toFixed(0)} MB/s`;
  return [
    `spilled in ${(spilledMs / 1000).toFixed(1)} s (${rate(spilledMs)}, ${batchRecords} records a write)`,
    `opened in ${openedMs.toFixed(0)} ms`,
    `drained in ${(drainedMs / 1000).toFixed(1)} s (${rate(drainedMs)})`,
    `${((peakBytes - rssBytes) / 1_048_576).toFixed(0)} MiB more memory at most`,
  ].join(', ');
}

function records(from: number): SinkRecord[] {
  return Array.from({ length: batchRecords }, (_, index) => {
    const seq = from + index;
    const value = JSON.stringify({ v: 1, stream: 'bench', seq, data: '' });
    return {
      stream: 'bench',
      seq,
      value: Buffer.from(value.replace('""', `"${'x'.repeat(recordBytes - value.length)}"`)),
    };
  });
}
