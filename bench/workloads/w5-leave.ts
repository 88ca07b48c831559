import type { Metric } from '../figures.ts';
import type { ReplyStats } from '../load/provider.ts';
import { eventBytes } from '../load/reply.ts';
import { eventually, quantile } from '../programs.ts';
import {
  type Bench,
  clearReplies,
  openReader,
  quietBytes,
  repliesOf,
  type Running,
  sleep,
  warmUp,
  withSystems,
} from '../workload.ts';

const manyReaders = 200;
/** Of a system that takes all that there is, and of what there is for it. */
const [fewReaders, fewBytes] = [50, 8e6];
const manyBytes = 32e6;
/** Whoever has not closed the connection to the provider then does not. */
const deadlineMs = 5000;

interface Phase {
  readonly phase: string;
  readonly behaviour: string;
  readonly isStalled: boolean;
}

const livePhases: readonly Phase[] = [
  { phase: 'before the headers', behaviour: 'headers=3600000', isStalled: false },
  { phase: 'before the first token', behaviour: 'ttft=3600000', isStalled: false },
  { phase: 'mid-stream', behaviour: 'tps=20,tokens=1000000', isStalled: false },
];
const stalledPhase: Phase = { phase: 'stalled', behaviour: 'tps=0,batch=32', isStalled: true };

const p50: Metric = { name: 'closed after p50', unit: 'ms', digits: 1 };
const p99: Metric = { name: 'p99', unit: 'ms', digits: 1, isHeadline: true };
const wasted: Metric = { name: 'tokens wasted, p99', unit: 'tokens', digits: 0, hasRatio: false };

/** Readers that leave: how long the provider goes on for nobody. */
export async function leave(bench: Bench): Promise<void> {
  for (const system of bench.systems) {
    // By itself: what was not closed before would go on beside it.
    for (const phases of [livePhases, [stalledPhase]]) {
      await withSystems({ ...bench, systems: [system] }, async ([one]) => {
        if (one === undefined) return;
        await warmUp(one);
        for (const phase of phases) await measure(bench, one, phase);
      });
    }
  }
}

async function measure(
  { figures }: Bench,
  one: Running,
  { behaviour, isStalled, phase }: Phase,
): Promise<void> {
  const system = one.system.name;
  const isFew = isStalled && one.system.takesAll === true;
  const count = isFew ? fewReaders : manyReaders;
  if (isFew) figures.note(phase, system, `${count} readers of ${fewBytes / 1e6} MB`);
  const tokens = Math.ceil((isFew ? fewBytes : manyBytes) / eventBytes / 32) * 32;
  const model = isStalled ? `${behaviour},tokens=${tokens}` : behaviour;
  const readers = Array.from({ length: count }, (_, index) =>
    openReader(one, { model: `${index}:${model}`, reads: !isStalled }),
  );
  const hasAll = async (): Promise<boolean> => (await repliesOf(one.provider)).length === count;
  // A system that is busy with the first of them takes its time for the last.
  await eventually(hasAll, 'all requests to arrive', 120_000);
  if (phase === 'mid-stream') await Promise.all(readers.map(({ first }) => first));
  if (isStalled) await quietBytes(one);
  await sleep(1000);
  const leftUs = new Map<string, number>();
  for (const [index, reader] of readers.entries()) {
    leftUs.set(`${index}`, reader.leave());
    await sleep(10);
  }
  const ended = await endedReplies(one);
  const open = ended.filter(({ endedUs }) => endedUs === undefined).length;
  // What was complete before its reader left was closed by nobody.
  const running = ended.filter(({ endedUs = Infinity, name }) => endedUs > (leftUs.get(name) ?? 0));
  if (open > 0) figures.note(phase, system, `${open} of ${count} were never closed`);
  if (running.length < count) {
    figures.note(phase, system, `${count - running.length} of ${count} had been taken whole by then`);
  }
  if (running.length > 0) {
    const delaysMs = running.map(
      ({ endedUs = Infinity, name }) => (endedUs - (leftUs.get(name) ?? 0)) / 1000,
    );
    figures.add(phase, system, p50, quantile(delaysMs, 0.5));
    figures.add(phase, system, p99, quantile(delaysMs, 0.99));
    const batch = isStalled ? 32 : 1;
    const tokensAfter = running.map(
      ({ name, writtenUs = [] }) =>
        writtenUs.filter((timeUs) => timeUs > (leftUs.get(name) ?? 0)).length * batch,
    );
    figures.add(phase, system, wasted, quantile(tokensAfter, 0.99));
  }
  await clearReplies(one);
}

async function endedReplies({ provider }: Running): Promise<readonly ReplyStats[]> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const replies = await repliesOf(provider, true);
    if (replies.every(({ endedUs }) => endedUs !== undefined) || performance.now() > endMs) return replies;
    await sleep(100);
  }
}
