import type { Metric } from '../figures.ts';
import { type Bench, maxLoadShare, openReader, type Running, startCount, withSystems } from '../workload.ts';

const streams = 50;
const cases = [
  { name: 'one event a write', tokens: 2000, batch: 1 },
  // More of them, as they are cheaper: a run should not be over before it has begun.
  { name: '32 events a write', tokens: 20_160, batch: 32 },
] as const;

/** So that a system ten times as slow does not take ten times as long. */
const maxMsPerCase = 12_000;

const cpu: Metric = { name: 'CPU a token', unit: 'µs', digits: 2, isHeadline: true, isWatched: true };
const rate: Metric = { name: 'tokens a second', unit: 'thousand', digits: 0 };
const share: Metric = { name: 'core used', unit: '%', digits: 0, hasRatio: false };
const load: Metric = { name: 'by the load', unit: '%', digits: 0, hasRatio: false };

/** As fast as they go: what a token costs, and how many fit through. */
export async function burst(bench: Bench): Promise<void> {
  await withSystems(bench, async (running) => {
    for (const { batch, name, tokens } of cases) {
      const model = `burst:tps=0,batch=${batch},tokens=${tokens}`;
      const spentMs = new Map<Running, number>();
      for (const one of running) await readAll(one, model, tokens);
      for (let round = 0; round < bench.rounds.quick; round += 1) {
        for (const one of running) {
          const soFarMs = spentMs.get(one) ?? 0;
          if (soFarMs > maxMsPerCase) continue;
          const stop = startCount(one);
          await readAll(one, model, tokens);
          const { loadShare, seconds, systemShare, systemUs } = stop();
          spentMs.set(one, soFarMs + seconds * 1000);
          const { figures } = bench;
          figures.add(name, one.system.name, cpu, systemUs / (streams * tokens));
          figures.add(name, one.system.name, rate, (streams * tokens) / seconds / 1000);
          figures.add(name, one.system.name, share, systemShare * 100);
          figures.add(name, one.system.name, load, loadShare * 100);
          if (loadShare > maxLoadShare) figures.note(name, one.system.name, 'the load was the limit');
        }
      }
    }
  });
}

async function readAll(running: Running, model: string, tokens: number): Promise<void> {
  const readers = Array.from({ length: streams }, () => openReader(running, { model, tokens }));
  await Promise.all(readers.map(({ done }) => done));
  for (const reader of readers) reader.leave();
}
