import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SinkRecord } from '@spillway/core';
import { openAuditLog } from '../packages/server/src/audit/audit-log.ts';
import { quantile } from './programs.ts';

const roundMs = 2000;
const streams = 20;
const never = new AbortController().signal;

/**
 * How many records the audit log keeps a second, on the disk of the folder for temporary files, against what the disk does
 * without it: 4 KiB appended to a file and synced, one after the other.
 */
export async function audit(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-audit-'));
  try {
    for (const bytes of [400, 2000]) {
      for (const batch of [1, 10, 100, 1000]) {
        // Next to each other: a disk has good and bad minutes.
        const syncs = syncRate(join(folder, 'bare'));
        console.log(
          `${bytes} bytes a record, ${batch} a write: ${await measure(join(folder, `${bytes}-${batch}.db`), bytes, batch, syncs)}`,
        );
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes of 4 KiB with `fdatasync` a second. */
function syncRate(path: string): number {
  const file = openSync(path, 'w');
  const page = Buffer.alloc(4096, 1);
  let syncs = 0;
  const start = performance.now();
  while (performance.now() - start < roundMs / 2) {
    writeSync(file, page);
    fdatasyncSync(file);
    syncs += 1;
  }
  closeSync(file);
  return (syncs * 1000) / (performance.now() - start);
}

async function measure(path: string, bytes: number, batch: number, syncs: number): Promise<string> {
  const log = await openAuditLog(path);
  const takenMs: number[] = [];
  let mainMs = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  while (performance.now() - start < roundMs) {
    const records = recordsOf(takenMs.length, batch, bytes);
    const before = performance.now();
    const writing = log.write(records, never);
    mainMs += performance.now() - before;
    await writing;
    takenMs.push(performance.now() - before);
  }
  const seconds = (performance.now() - start) / 1000;
  const { system, user } = process.cpuUsage(cpu);
  await log.close();
  const count = takenMs.length * batch;
  return [
    `${(count / seconds).toFixed(0)} records/s`,
    `${(takenMs.length / seconds).toFixed(0)} writes/s (${(takenMs.length / seconds / syncs).toFixed(2)} of the bare disk's ${syncs.toFixed(0)})`,
    `p50 ${quantile(takenMs, 0.5).toFixed(2)} ms, p99 ${quantile(takenMs, 0.99).toFixed(2)} ms`,
    `CPU ${((user + system) / count).toFixed(0)} µs a record, ${((mainMs * 1000) / count).toFixed(1)} of them in the caller's thread`,
    `${(statSync(path).size / count).toFixed(0)} bytes a record on the disk`,
  ].join(', ');
}

/** The records of one write, of several streams. */
function recordsOf(write: number, batch: number, bytes: number): SinkRecord[] {
  const each = Math.ceil(batch / streams);
  return Array.from({ length: batch }, (_, index) => {
    const stream = `stream-${index % streams}`;
    const seq = write * each + Math.floor(index / streams);
    const record = {
      v: 1,
      stream,
      seq,
      at: 1_790_000_000_000,
      kind: 'chunks',
      from: seq,
      to: seq + 1,
      events: 1,
    };
    const text = JSON.stringify(record);
    return {
      stream,
      seq,
      value: Buffer.from(JSON.stringify({ ...record, data: '.'.repeat(bytes - text.length - 10) })),
    };
  });
}
