import type { Metric } from '../figures.ts';
import { eventBytes } from '../load/reply.ts';
import { isTcpMemoryShort, memoryOf, socketMemoryOf } from '../usage.ts';
import { type Bench, openReader, quietBytes, type Running, warmUp, withSystems } from '../workload.ts';

const cases = [
  { megabytes: 8, withAll: true },
  { megabytes: 80, withAll: false },
] as const;

const manyReaders = 500;
/** A system that takes all that there is would take 40 GB. */
const fewReaders = 50;
const batch = 32;

const memory: Metric = { name: 'memory a reader', unit: 'kB', digits: 0, isHeadline: true, isWatched: true };
const kernel: Metric = { name: 'in its sockets', unit: 'kB', digits: 0 };
const taken: Metric = { name: 'from the provider', unit: 'MB', digits: 2 };

/** Readers that never read: what is held for each, and what the provider was made to make. */
export async function stall(bench: Bench): Promise<void> {
  for (const { megabytes, withAll } of cases) {
    for (let round = 0; round < bench.rounds.slow; round += 1) {
      for (const system of bench.systems.filter(({ takesAll }) => withAll || takesAll !== true)) {
        await withSystems({ ...bench, systems: [system] }, async ([one]) => {
          if (one !== undefined) await measure(bench, one, megabytes);
        });
      }
    }
  }
}

async function measure({ figures }: Bench, one: Running, megabytes: number): Promise<void> {
  const { program, provider, system } = one;
  const name = `${megabytes} MB to come`;
  const count = system.takesAll === true ? fewReaders : manyReaders;
  const pid = program.command.process.pid ?? 0;
  await warmUp(one);
  const before = memoryOf(pid);
  const tokens = Math.ceil((megabytes * 1e6) / eventBytes / batch) * batch;
  const model = `stall:tps=0,batch=${batch},tokens=${tokens}`;
  const readers = Array.from({ length: count }, () => openReader(one, { model, reads: false }));
  const bytes = await quietBytes(one);
  const kernelBytes = socketMemoryOf(program.url, provider.url);
  figures.add(name, system.name, memory, (memoryOf(pid) - before) / count / 1000);
  if (kernelBytes !== undefined) figures.add(name, system.name, kernel, kernelBytes / count / 1000);
  figures.add(name, system.name, taken, bytes / count / 1e6);
  if (isTcpMemoryShort()) figures.note(name, system.name, 'the kernel was short of memory for TCP');
  if (count !== manyReaders) figures.note(name, system.name, `${count} readers, not ${manyReaders}`);
  for (const reader of readers) reader.leave();
}
