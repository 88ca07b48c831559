import { Ages } from './ages.ts';
import type { Placement } from './placement.ts';
import { eventually, metricOf, type Program, quantile, startGateway } from './programs.ts';
import type { System } from './systems.ts';
import {
  clearReplies,
  disturbed,
  openPaced,
  type Running,
  sleep,
  type Spent,
  startCount,
  steadyModel,
  throwFailures,
  undisturbed,
  warmUpAll,
  withSystems,
} from './workload.ts';

const opensPerSecond = 500;
const settleMs = 2000;
const measureMs = 5000;

/** What is compared. */
export interface TapComparison {
  readonly placement: Placement;
  readonly systems: readonly System[];
  /** Streams, and tokens a second of each. */
  readonly loads: readonly (readonly [streams: number, tps: number])[];
  readonly rounds: number;
  /** Whether an engine shares the core of the load: then its work is shown, and is nothing that disturbs. */
  readonly hasEngines: boolean;
}

/** Prints what taps cost beside each other: medians of the rounds, in which they take turns, and the least and the most. */
export async function compareTaps(comparison: TapComparison): Promise<void> {
  const { hasEngines, loads, placement, rounds, systems } = comparison;
  await withSystems({ placement, systems }, async (running) => {
    await warmUpAll(running);
    for (const [streams, tps] of loads) {
      const runs = new Map<string, Run[]>(running.map(({ system }) => [system.name, []]));
      for (let round = 0; round < rounds; round += 1) {
        for (const one of running) {
          const once = (): Promise<Run> => measure(one, streams, tps);
          runs.get(one.system.name)?.push(await (hasEngines ? once() : undisturbed(once)));
        }
      }
      console.log(`\n${streams} ${streams === 1 ? 'stream' : 'streams'} of ${tps} tokens/s`);
      for (const [name, all] of runs) print(name, all, hasEngines);
    }
  });
}

/** A gateway with a tap by the name `tap`, or without one. */
export function tappedGateway(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): System {
  return {
    name,
    async start(upstream, { prefix }) {
      const options = { prefix, env: { ...env, NODE_ENV: 'production' } };
      const program = await startGateway(upstream, ['--max-streams', '100000', ...args], options);
      const isUp = async (): Promise<boolean> =>
        (await metricOf(program, 'spillway_tap_up{tap="tap"}')) === 1;
      if (args.length > 0) await eventually(isUp, `the tap of ${name} to be up`);
      return program;
    },
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
  const model = steadyModel(tps);
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

function print(name: string, runs: readonly Run[], hasEngines: boolean): void {
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
  if (hasEngines)
    columns.push(
      spread(
        runs,
        ({ spent }) => (spent.loadShare + spent.othersShare) * 100,
        0,
        '% of a core by load, engine and others',
      ),
    );
  const wasDisturbed = runs.some(({ isDisturbed }) => isDisturbed);
  console.log(`${name.padEnd(14)} ${columns.join(', ')}${wasDisturbed ? ` (${disturbed})` : ''}`);
}

/** The median of the rounds, and where they differ the least and the most. */
function spread(runs: readonly Run[], of: (run: Run) => number, digits: number, unit: string): string {
  const values = runs.map(of);
  const [median, least, most] = [0.5, 0, 1].map((q) => quantile(values, q).toFixed(digits));
  return `${median}${least === most ? '' : ` (${least}–${most})`} ${unit}`;
}
