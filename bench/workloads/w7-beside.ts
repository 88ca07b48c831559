import { Ages } from '../ages.ts';
import type { Metric } from '../figures.ts';
import { eventBytes } from '../load/reply.ts';
import { quantile } from '../programs.ts';
import {
  type Bench,
  clearReplies,
  disturbed,
  openPaced,
  openReader,
  type Running,
  sleep,
  throwFailures,
  warmUp,
  withSystems,
} from '../workload.ts';

const live = 180;
const stalled = 20;
const stallBytes = 32e6;
const tps = 50;
/** So that their tokens do not come all at once. */
const opensPerSecond = 200;
const settleMs = 2000;
const measureMs = 4000;

const alone: Metric = { name: 'p99 without them', unit: 'ms', digits: 1 };
const beside: Metric = { name: 'p99 beside them', unit: 'ms', digits: 1, isHeadline: true };
const added: Metric = { name: 'added', unit: 'ms', digits: 1, hasRatio: false };

/** One reader in ten stalls: what the others notice. */
export async function besideStalled(bench: Bench): Promise<void> {
  for (let round = 0; round < bench.rounds.quick; round += 1) {
    for (const system of bench.systems) {
      await withSystems({ ...bench, systems: [system] }, async ([one]) => {
        if (one !== undefined) await measure(bench, one);
      });
    }
  }
}

async function measure({ figures }: Bench, one: Running): Promise<void> {
  const name = `${live} live readers at ${tps} tokens/s, ${stalled} stalled`;
  const ages = new Ages();
  await warmUp(one);
  const readers = await openPaced(one, live, opensPerSecond, {
    model: `live:tps=${tps},tokens=1000000`,
    onToken: ages.add,
  });
  const p99Ms = async (): Promise<number> => {
    await sleep(settleMs);
    const { isDisturbed, us } = await ages.during(measureMs, one.placement);
    if (isDisturbed) figures.note(name, one.system.name, disturbed);
    return quantile(us, 0.99) / 1000;
  };
  const without = await p99Ms();
  const tokens = Math.ceil(stallBytes / eventBytes / 32) * 32;
  const model = `stalled:tps=0,batch=32,tokens=${tokens}`;
  for (let index = 0; index < stalled; index += 1) readers.push(openReader(one, { model, reads: false }));
  const withThem = await p99Ms();
  const system = one.system.name;
  figures.add(name, system, alone, without);
  figures.add(name, system, beside, withThem);
  figures.add(name, system, added, withThem - without);
  throwFailures(readers);
  for (const reader of readers) reader.leave();
  await clearReplies(one);
}
