import type { Metric } from '../figures.ts';
import {
  type Bench,
  noteLimits,
  openReader,
  type Running,
  startCount,
  undisturbed,
  withSystems,
} from '../workload.ts';

const streams = 50;
const cases = [
  { name: 'one event a write', batch: 1, manyTokens: 2000, fewTokens: 1000 },
  // More of them, as they are cheaper: a run should not be over before it has begun.
  { name: '32 events a write', batch: 32, manyTokens: 20_160, fewTokens: 2016 },
] as const;

type Case = (typeof cases)[number];

/** What takes longer than this a round gets fewer of them: a system ten times as slow should not take ten times as long. */
const msPerRound = 4000;

const cpu: Metric = { name: 'CPU a token', unit: 'µs', digits: 2, isHeadline: true, isWatched: true };
const rate: Metric = { name: 'tokens a second', unit: 'thousand', digits: 0 };
const bytes: Metric = { name: 'bytes a token', unit: 'B', digits: 0, hasRatio: false };

/** As fast as they go: what a token costs, and how many fit through. */
export async function burst(bench: Bench): Promise<void> {
  const maxMs = bench.rounds.quick * msPerRound;
  await withSystems(bench, async (running) => {
    for (const one of cases) {
      for (const each of running) await readAll(each, one);
      const spentMs = new Map<Running, number>();
      for (let round = 0; round < bench.rounds.quick; round += 1) {
        for (const each of running) {
          const soFarMs = spentMs.get(each) ?? 0;
          if (soFarMs < maxMs) spentMs.set(each, soFarMs + (await measure(bench, each, one)));
        }
      }
    }
  });
}

/** Returns how many milliseconds it took. */
async function measure({ figures }: Bench, running: Running, one: Case): Promise<number> {
  const system = running.system.name;
  const startMs = performance.now();
  const { bodyBytes, spent, tokens } = await undisturbed(async () => {
    const stop = startCount(running);
    const read = await readAll(running, one);
    return { spent: stop(), ...read };
  });
  figures.add(one.name, system, cpu, spent.systemUs / tokens);
  figures.add(one.name, system, rate, tokens / spent.seconds / 1000);
  figures.add(one.name, system, bytes, bodyBytes / tokens);
  noteLimits(figures, one.name, system, spent);
  return performance.now() - startMs;
}

/** Reads all streams to their ends, and returns what these had in all. */
async function readAll(
  running: Running,
  { batch, fewTokens, manyTokens }: Case,
): Promise<{ readonly tokens: number; readonly bodyBytes: number }> {
  const tokens = running.system.isHeavy === true ? fewTokens : manyTokens;
  const model = `burst:tps=0,batch=${batch},tokens=${tokens}`;
  const readers = Array.from({ length: streams }, () => openReader(running, { model, tokens }));
  await Promise.all(readers.map(({ done }) => done));
  for (const reader of readers) reader.leave();
  const bodyBytes = readers.reduce((sum, reader) => sum + reader.bodyBytes, 0);
  return { tokens: streams * tokens, bodyBytes };
}
