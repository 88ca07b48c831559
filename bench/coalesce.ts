import { gzipSync } from 'node:zlib';
import { createCoalesce } from '@spillway/core/format/coalesce';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import {
  fixtures,
  type FormatName,
  formatNames,
  readRecordings,
  toEvents,
} from '../packages/core/test/format/fixtures.ts';
import { formats } from '../packages/core/test/support/formats.ts';
import { quantile } from './programs.ts';
import { savable } from './savable.ts';

interface Stream {
  readonly format: FormatName;
  readonly name: string;
  readonly events: readonly string[];
}

/**
 * What merging saves and what it costs, for each stream of the project's own with more than a hundred events,
 * and for those in the folder that `SPILLWAY_RECORDINGS` names: bytes for a reader that takes nothing until
 * the end, and the time of one event on one core.
 */
export async function coalesce(): Promise<void> {
  const streams: Stream[] = [
    ...formatNames.flatMap((format) =>
      fixtures[format].map(({ events, isCut, name }) => ({
        format,
        name,
        events: toEvents(format, events, isCut),
      })),
    ),
    ...readRecordings().map(({ events, format, name }) => ({
      format,
      name: `recorded ${name}`,
      events: toEvents(format, events),
    })),
  ].filter(({ events, name }) => events.length > 100 || name.startsWith('recorded'));
  console.log('bytes to a fully lagging reader; "of the least" is against what cannot be saved');
  for (const stream of streams) console.log(bytesLine(stream));
  console.log('\nmicroseconds of CPU an event: found in bytes, merged when the reader lags');
  for (const stream of streams) {
    if (stream.events.length > 100) console.log(`${label(stream)} ${costLine(stream)}`);
  }
}

function bytesLine(stream: Stream): string {
  const raw = Buffer.from(stream.events.join(''));
  const merged = mergeAll(stream, scan(stream));
  const least = savable(stream.format, stream.events);
  const [rawZip, mergedZip] = [gzipSync(raw).length, gzipSync(merged).length];
  return (
    `${label(stream)} ${String(stream.events.length).padStart(4)} events ${String(raw.length).padStart(7)} → ` +
    `${String(merged.length).padStart(6)} bytes, ${(raw.length / merged.length).toFixed(1).padStart(5)} times fewer, ` +
    `${(merged.length / least).toFixed(2)} of the least; gzipped ${rawZip} → ${mergedZip}`
  );
}

function costLine(stream: Stream): string {
  const rounds = 40;
  const scans: number[] = [];
  const merges: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now();
    const runs = scan(stream);
    const scanned = performance.now();
    mergeAll(stream, runs);
    scans.push(((scanned - start) * 1000) / runs.length);
    merges.push(((performance.now() - scanned) * 1000) / runs.length);
  }
  // The first rounds only warm up.
  const [scanned, merged] = [scans, merges].map((values) => quantile(values.slice(rounds / 4), 0.5));
  return `${scanned?.toFixed(2)} found, ${merged?.toFixed(2)} merged`;
}

/** Events as they come one in a read. */
function scan({ events, format }: Stream): EventRun[] {
  const runs: EventRun[] = [];
  const scanner = new EventScanner({ classify: formats[format].classify });
  for (const event of events) scanner.push(Buffer.from(event), (run) => runs.push(run));
  return runs;
}

function mergeAll({ format }: Stream, runs: readonly EventRun[]): Uint8Array {
  const merge = createCoalesce(formats[format].delta);
  const merged: EventRun[] = [];
  for (const run of runs) {
    const last = merged.at(-1);
    const both = last === undefined ? undefined : merge(last, run);
    if (both === undefined) merged.push(run);
    else merged[merged.length - 1] = both;
  }
  return Buffer.concat(merged.map(({ bytes }) => bytes));
}

function label({ format, name }: Stream): string {
  return `${format}, ${name}`.padEnd(58).slice(0, 58);
}
