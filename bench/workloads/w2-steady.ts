import { Ages, type Measured } from '../ages.ts';
import type { Metric } from '../figures.ts';
import { nowUs } from '../load/token.ts';
import { quantile } from '../programs.ts';
import {
  type Bench,
  clearReplies,
  disturbed,
  maxLoadShare,
  noteLimits,
  openPaced,
  repliesOf,
  type Running,
  sleep,
  type Spent,
  startCount,
  steadyModel,
  throwFailures,
  undisturbed,
  warmUpAll,
  withSystems,
} from '../workload.ts';

const wanted = 1000;
const rates = [10, 50] as const;

const opensPerSecond = 500;
/** With all streams it would not do anything but fall behind. */
const heavyDivisor = 10;
const settleMs = 1000;
const measureMs = 4000;

const cpu: Metric = { name: 'CPU a token', unit: 'µs', digits: 1, isHeadline: true, isWatched: true };
const p50: Metric = { name: 'added p50', unit: 'ms', digits: 2 };
const p99: Metric = { name: 'added p99', unit: 'ms', digits: 1 };
const first: Metric = { name: 'first token p50', unit: 'ms', digits: 1 };
const bytes: Metric = { name: 'bytes a token', unit: 'B', digits: 0, hasRatio: false };
const inTime: Metric = { name: 'came in time', unit: '%', digits: 0, hasRatio: false };

/** Many streams at the speed of a model: what a token costs, and how much later it comes. */
export async function steady(bench: Bench): Promise<void> {
  await withSystems(bench, async (running) => {
    await warmUpAll(running);
    for (const tps of rates) {
      const streams = await affordable(running, tps);
      const name = `${tps} tokens/s a stream`;
      if (streams < wanted) console.error(`  ${name}: the load can do ${streams} streams, not ${wanted}`);
      for (let round = 0; round < Math.ceil(bench.rounds.quick / 2); round += 1) {
        for (const one of running) await measure(bench, one, name, streams, tps);
      }
    }
  });
}

/** As many streams as the load can do with a fifth of its core to spare, found without a system in between. */
async function affordable(running: readonly Running[], tps: number): Promise<number> {
  const [any] = running;
  if (any === undefined) return wanted;
  const direct: Running = { ...any, program: any.provider, system: { ...any.system, name: 'none' } };
  const readers = await openPaced(direct, wanted, opensPerSecond, { model: steadyModel(tps) });
  const stop = startCount(direct);
  await sleep(1500);
  // What the provider used was counted as the system's, too.
  const { loadShare } = stop();
  for (const reader of readers) reader.leave();
  await clearReplies(direct);
  const excess = loadShare / (maxLoadShare - 0.1);
  return excess <= 1 ? wanted : Math.floor(wanted / excess / 50) * 50;
}

async function measure(
  { figures }: Bench,
  one: Running,
  name: string,
  streams: number,
  tps: number,
): Promise<void> {
  const system = one.system.name;
  const count = one.system.isHeavy === true ? streams / heavyDivisor : streams;
  const { ages, bytesPerToken, firstsUs, spent, written } = await undisturbed(
    async () => await run(one, count, tps),
  );
  figures.add(name, system, cpu, spent.systemUs / ages.tokens);
  figures.add(name, system, p50, quantile(ages.us, 0.5) / 1000);
  figures.add(name, system, p99, quantile(ages.us, 0.99) / 1000);
  figures.add(name, system, first, quantile(firstsUs, 0.5) / 1000);
  figures.add(name, system, bytes, bytesPerToken);
  const due = written * count * tps * spent.seconds;
  figures.add(name, system, inTime, (ages.tokens / due) * 100);
  if (count !== wanted) figures.note(name, system, `${count} streams`);
  if (written < 0.95) figures.note(name, system, 'the load wrote fewer tokens than it should');
  if (ages.isDisturbed) figures.note(name, system, disturbed);
  noteLimits(figures, name, system, spent);
}

interface Run {
  readonly spent: Spent;
  readonly ages: Measured;
  readonly firstsUs: readonly number[];
  readonly bytesPerToken: number;
  /** Of the tokens that should have been written, those that were. */
  readonly written: number;
}

async function run(one: Running, count: number, tps: number): Promise<Run> {
  const ages = new Ages();
  const readers = await openPaced(one, count, opensPerSecond, { model: steadyModel(tps), onToken: ages.add });
  await sleep(settleMs);
  const stop = startCount(one);
  const measured = await ages.during(measureMs, one.placement);
  const spent = stop();
  const written = await writtenShare(one, tps);
  throwFailures(readers);
  const firstsUs = readers.map(({ firstUs = Number.NaN, startedUs }) => firstUs - startedUs);
  for (const reader of readers) reader.leave();
  await clearReplies(one);
  const total = (of: 'bodyBytes' | 'tokens'): number => readers.reduce((sum, reader) => sum + reader[of], 0);
  const bytesPerToken = total('bodyBytes') / total('tokens');
  return { spent, ages: measured, firstsUs, bytesPerToken, written };
}

/** A provider that is blocked writes less, too. */
async function writtenShare({ provider }: Running, tps: number): Promise<number> {
  const timeUs = nowUs();
  const replies = await repliesOf(provider);
  const due = replies.reduce((sum, { startedUs }) => sum + ((timeUs - startedUs) * tps) / 1e6, 0);
  return replies.reduce((sum, { tokens }) => sum + tokens, 0) / due;
}
