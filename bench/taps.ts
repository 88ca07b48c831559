import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ages } from './ages.ts';
import { place } from './placement.ts';
import { metricOf, type Program, quantile, startGateway } from './programs.ts';
import type { System } from './systems.ts';
import {
  clearReplies,
  disturbed,
  openPaced,
  type Running,
  type Spent,
  sleep,
  startCount,
  throwFailures,
  undisturbed,
  warmUp,
  withSystems,
} from './workload.ts';

/** Streams, tokens a second of each, and what one core without a tap can do with ease. */
const loads = [
  [1, 80],
  [100, 80],
  [1000, 10],
] as const;

const rounds = 3;
/** A process that has just started is busy compiling itself. */
const warmUps = 3;
const opensPerSecond = 500;
const settleMs = 2000;
const measureMs = 5000;

/** The gateway's own flags. */
const ways: Readonly<Record<string, (folder: string) => string>> = {
  'no tap': () => '',
  'sqlite:': (folder) => `to=sqlite:${join(folder, 'plain.db')}`,
  'sqlite:, gate': (folder) => `to=sqlite:${join(folder, 'gate.db')},gate=true`,
  'file:, gate': (folder) => `to=file:${join(folder, 'gate.jsonl')},gate=true`,
};

/**
 * What a tap adds: to the time until a token is with its reader, with and without a gate; to the CPU that it takes, of
 * all threads; and what the tap writes meanwhile. On the disk of the folder for temporary files.
 */
export async function taps(): Promise<void> {
  const placement = place();
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-taps-'));
  console.log(
    `The gateway ${placement.description}. Medians of ${rounds} rounds, and the least and the most.`,
  );
  try {
    const systems = Object.entries(ways).map(([name, tapOf]) => gateway(name, tapOf(folder)));
    await withSystems({ placement, systems }, async (running) => {
      for (const one of running) for (let time = 0; time < warmUps; time += 1) await warmUp(one);
      for (const [streams, tps] of loads) {
        const runs = new Map<string, Run[]>(running.map(({ system }) => [system.name, []]));
        for (let round = 0; round < rounds; round += 1) {
          for (const one of running)
            runs.get(one.system.name)?.push(await undisturbed(() => measure(one, streams, tps)));
        }
        console.log(`\n${streams} ${streams === 1 ? 'stream' : 'streams'} of ${tps} tokens/s`);
        for (const [name, all] of runs) print(name, all);
      }
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function gateway(name: string, tap: string): System {
  const args = ['--max-streams', '100000', ...(tap === '' ? [] : ['--tap', `name=tap,${tap}`])];
  return {
    name,
    start: async (upstream, { prefix }) =>
      await startGateway(upstream, args, { prefix, env: { NODE_ENV: 'production' } }),
  };
}

interface Run {
  readonly spent: Spent;
  readonly tokens: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly isDisturbed: boolean;
  readonly written: Written;
}

/** What the tap has written so far. */
interface Written {
  readonly records: number;
  readonly writes: number;
  readonly bytes: number;
  /** How long the oldest record of each write had waited, the sum of all. */
  readonly waitedS: number;
}

async function measure(one: Running, streams: number, tps: number): Promise<Run> {
  const ages = new Ages();
  const model = `steady:tps=${tps},tokens=1000000`;
  const readers = await openPaced(one, streams, opensPerSecond, { model, onToken: ages.add });
  await sleep(settleMs);
  const before = await writtenBy(one.program);
  const stop = startCount(one);
  const { isDisturbed, tokens, us } = await ages.during(measureMs, one.placement);
  const spent = stop();
  const after = await writtenBy(one.program);
  throwFailures(readers);
  for (const reader of readers) reader.leave();
  await clearReplies(one);
  return {
    spent,
    tokens,
    p50Ms: quantile(us, 0.5) / 1000,
    p99Ms: quantile(us, 0.99) / 1000,
    isDisturbed,
    written: {
      records: after.records - before.records,
      writes: after.writes - before.writes,
      bytes: after.bytes - before.bytes,
      waitedS: after.waitedS - before.waitedS,
    },
  };
}

async function writtenBy(program: Program): Promise<Written> {
  const [records, bytes, waitedS, writes] = await Promise.all([
    metricOf(program, 'spillway_tap_records_total{tap="tap"}'),
    metricOf(program, 'spillway_tap_bytes_total{tap="tap"}'),
    metricOf(program, 'spillway_tap_wait_time_seconds_total{tap="tap"}'),
    metricOf(program, 'spillway_tap_writes_total{tap="tap",result="kept"}'),
  ]);
  return { records, bytes, waitedS, writes };
}

function print(name: string, runs: readonly Run[]): void {
  const columns = [
    spread(runs, ({ p50Ms }) => p50Ms, 2, 'ms p50'),
    spread(runs, ({ p99Ms }) => p99Ms, 1, 'ms p99'),
    spread(runs, ({ spent, tokens }) => spent.systemUs / tokens, 0, 'µs CPU a token'),
    spread(runs, ({ spent }) => spent.systemShare * 100, 0, '% of a core'),
    spread(runs, ({ spent, tokens }) => tokens / spent.seconds, 0, 'tokens/s'),
  ];
  if (runs.every(({ written }) => written.writes > 0)) {
    columns.push(
      spread(runs, ({ spent, written }) => written.records / spent.seconds, 0, 'records/s'),
      spread(runs, ({ spent, written }) => written.writes / spent.seconds, 0, 'writes/s'),
      spread(runs, ({ written }) => written.records / written.writes, 1, 'records a write'),
      spread(runs, ({ tokens, written }) => tokens / written.records, 1, 'tokens a record'),
      spread(runs, ({ written }) => (written.waitedS * 1000) / written.writes, 1, 'ms until kept'),
    );
  }
  const wasDisturbed = runs.some(({ isDisturbed }) => isDisturbed);
  console.log(`${name.padEnd(14)} ${columns.join(', ')}${wasDisturbed ? ` (${disturbed})` : ''}`);
}

/** The median of the rounds, and where they differ the least and the most. */
function spread(runs: readonly Run[], of: (run: Run) => number, digits: number, unit: string): string {
  const values = runs.map(of);
  const [median, least, most] = [0.5, 0, 1].map((q) => quantile(values, q).toFixed(digits));
  return `${median}${least === most ? '' : ` (${least}–${most})`} ${unit}`;
}
