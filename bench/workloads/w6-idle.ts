import { readFileSync } from 'node:fs';
import type { Metric } from '../figures.ts';
import { quantile } from '../programs.ts';
import { memoryOf, socketMemoryOf } from '../usage.ts';
import {
  type Bench,
  openPaced,
  type Running,
  sleep,
  startCount,
  throwFailures,
  warmUp,
  withSystems,
} from '../workload.ts';

const manyStreams = 10_000;
const fewStreams = 1000;
/** A token every ten seconds. */
const tps = 0.1;
const opensPerSecond = 800;

const memory: Metric = { name: 'memory a stream', unit: 'kB', digits: 1, isHeadline: true, isWatched: true };
const kernel: Metric = { name: 'in its sockets', unit: 'kB', digits: 1 };
const cpu: Metric = { name: 'CPU a stream', unit: 'µs/s', digits: 1, isWatched: true };

/** Many streams on which next to nothing happens: what it costs that they are there. */
export async function idle(bench: Bench): Promise<void> {
  for (let round = 0; round < bench.rounds.slow; round += 1) {
    for (const system of bench.systems) {
      await withSystems({ ...bench, systems: [system] }, async ([one]) => {
        if (one !== undefined) await measure(bench, one);
      });
    }
  }
}

async function measure({ figures }: Bench, one: Running): Promise<void> {
  const { program, provider, system } = one;
  const wanted = system.isHeavy === true ? fewStreams : manyStreams;
  const count = Math.min(wanted, Math.floor((maxFiles() - 300) / 2));
  const pid = program.command.process.pid ?? 0;
  await warmUp(one);
  const before = memoryOf(pid);
  const model = `idle:tps=${tps},tokens=1000000`;
  const readers = await openPaced(one, count, opensPerSecond, { model });
  await Promise.all(readers.map(({ first }) => first));
  await sleep(3000);
  const stop = startCount(one);
  const samples: number[] = [];
  for (let sample = 0; sample < 5; sample += 1) {
    await sleep(1000);
    samples.push(memoryOf(pid));
  }
  const { seconds, systemUs } = stop();
  const name = `${manyStreams} streams, a token every ${1 / tps} s`;
  const kernelBytes = socketMemoryOf(program.url, provider.url);
  figures.add(name, system.name, memory, (quantile(samples, 0.5) - before) / count / 1000);
  if (kernelBytes !== undefined) figures.add(name, system.name, kernel, kernelBytes / count / 1000);
  figures.add(name, system.name, cpu, systemUs / count / seconds);
  if (count < manyStreams) figures.note(name, system.name, `${count} streams`);
  throwFailures(readers);
  for (const reader of readers) reader.leave();
}

/** A system needs two for a stream. */
function maxFiles(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
}
