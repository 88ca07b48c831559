import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { SinkRecord } from '@spillway/core';

/** The value of a record, as a line of JSON. */
export function lineValue(stream: string, seq: number, text = ''): Buffer {
  return Buffer.from(JSON.stringify({ v: 1, stream, seq, text }));
}

export function lineRecord(stream: string, seq: number, text = ''): SinkRecord {
  return { stream, seq, value: lineValue(stream, seq, text) };
}

/** The records of all files in a folder, in the order of their names; `audit-….jsonl` is before `audit.jsonl`. */
export function recordsIn(folder: string): SinkRecord[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  return names.toSorted().flatMap((name) => readRecords(join(folder, name)));
}

function readRecords(path: string): SinkRecord[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  if (lines.pop() !== '') throw new Error(`${path}: expected a line end at its end`);
  return lines.map((line) => {
    const { stream, seq } = JSON.parse(line) as { stream: string; seq: number };
    return { stream, seq, value: Buffer.from(line) };
  });
}

/** The files below a folder that this process has open. */
export function openFilesIn(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

/** The names in a folder, but for locks. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => !name.endsWith('lock'));
}
