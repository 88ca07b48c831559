import type { Metric } from '../figures.ts';
import { nowUs } from '../load/token.ts';
import { quantile } from '../programs.ts';
import {
  type Bench,
  clearReplies,
  maxLoadShare,
  openPaced,
  repliesOf,
  type Running,
  sleep,
  startCount,
  throwFailures,
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
const inTime: Metric = { name: 'came in time', unit: '%', digits: 0, hasRatio: false };
const share: Metric = { name: 'core used', unit: '%', digits: 0, hasRatio: false };
const load: Metric = { name: 'by the load', unit: '%', digits: 0, hasRatio: false };

/** Many streams at the speed of a model: what a token costs, and how much later it comes. */
export async function steady(bench: Bench): Promise<void> {
  await withSystems(bench, async (running) => {
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
  const readers = await openPaced(direct, wanted, opensPerSecond, { model: modelOf(tps) });
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
  let agesUs: number[] | undefined;
  const isHeavy = one.system.isHeavy === true;
  const count = isHeavy ? streams / heavyDivisor : streams;
  const onToken = (ageUs: number): void => void agesUs?.push(ageUs);
  const readers = await openPaced(one, count, opensPerSecond, { model: modelOf(tps), onToken });
  await sleep(settleMs);
  agesUs = [];
  const stop = startCount(one);
  await sleep(measureMs);
  const spent = stop();
  const ages = agesUs;
  agesUs = undefined;
  const written = await writtenShare(one, tps);
  const firstMs = readers.map(({ firstUs = Number.NaN, startedUs }) => (firstUs - startedUs) / 1000);
  throwFailures(readers);
  for (const reader of readers) reader.leave();
  const system = one.system.name;
  figures.add(name, system, cpu, spent.systemUs / ages.length);
  figures.add(name, system, p50, quantile(ages, 0.5) / 1000);
  figures.add(name, system, p99, quantile(ages, 0.99) / 1000);
  figures.add(name, system, first, quantile(firstMs, 0.5));
  figures.add(name, system, share, spent.systemShare * 100);
  figures.add(name, system, load, spent.loadShare * 100);
  figures.add(name, system, inTime, (ages.length / ((written * count * tps * measureMs) / 1000)) * 100);
  if (spent.loadShare > maxLoadShare) figures.note(name, system, 'the load was the limit');
  if (written < 0.95) figures.note(name, system, 'the load wrote fewer tokens than it should');
  await clearReplies(one);
}

/** Of the tokens that should have been written by now, those that were. A provider that is blocked writes less, too. */
async function writtenShare({ provider }: Running, tps: number): Promise<number> {
  const timeUs = nowUs();
  const replies = await repliesOf(provider);
  const due = replies.reduce((sum, { startedUs }) => sum + ((timeUs - startedUs) * tps) / 1e6, 0);
  return replies.reduce((sum, { tokens }) => sum + tokens, 0) / due;
}

function modelOf(tps: number): string {
  return `steady:tps=${tps},tokens=1000000`;
}
