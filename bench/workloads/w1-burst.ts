import type { Metric } from '../figures.ts';
import { type Bench, maxLoadShare, openReader, type Running, startCount, withSystems } from '../workload.ts';

const streams = 50;
const cases = [
  { name: 'one event a write', batch: 1, manyTokens: 2000, fewTokens: 1000 },
  // More of them, as they are cheaper: a run should not be over before it has begun.
  { name: '32 events a write', batch: 32, manyTokens: 20_160, fewTokens: 2016 },
] as const;

type Case = (typeof cases)[number];

/** What takes longer than this in all gets fewer rounds: a system ten times as slow should not take ten times as long. */
const maxMsPerCase = 12_000;

const cpu: Metric = { name: 'CPU a token', unit: 'µs', digits: 2, isHeadline: true, isWatched: true };
const rate: Metric = { name: 'tokens a second', unit: 'thousand', digits: 0 };
const share: Metric = { name: 'core used', unit: '%', digits: 0, hasRatio: false };
const load: Metric = { name: 'by the load', unit: '%', digits: 0, hasRatio: false };

/** As fast as they go: what a token costs, and how many fit through. */
export async function burst(bench: Bench): Promise<void> {
  await withSystems(bench, async (running) => {
    for (const one of cases) {
      for (const each of running) await readAll(each, one);
      const spentMs = new Map<Running, number>();
      for (let round = 0; round < bench.rounds.quick; round += 1) {
        for (const each of running) {
          const soFarMs = spentMs.get(each) ?? 0;
          if (soFarMs < maxMsPerCase) spentMs.set(each, soFarMs + (await measure(bench, each, one)));
        }
      }
    }
  });
}

/** Returns how many milliseconds it took. */
async function measure({ figures }: Bench, running: Running, one: Case): Promise<number> {
  const system = running.system.name;
  const stop = startCount(running);
  const tokens = await readAll(running, one);
  const { loadShare, seconds, systemShare, systemUs } = stop();
  figures.add(one.name, system, cpu, systemUs / tokens);
  figures.add(one.name, system, rate, tokens / seconds / 1000);
  figures.add(one.name, system, share, systemShare * 100);
  figures.add(one.name, system, load, loadShare * 100);
  if (loadShare > maxLoadShare) figures.note(one.name, system, 'the load was the limit');
  return seconds * 1000;
}

/** Reads all streams to their ends, and returns how many tokens these had. */
async function readAll(running: Running, { batch, fewTokens, manyTokens }: Case): Promise<number> {
  const tokens = running.system.isHeavy === true ? fewTokens : manyTokens;
  const model = `burst:tps=0,batch=${batch},tokens=${tokens}`;
  const readers = Array.from({ length: streams }, () => openReader(running, { model, tokens }));
  await Promise.all(readers.map(({ done }) => done));
  for (const reader of readers) reader.leave();
  return streams * tokens;
}
