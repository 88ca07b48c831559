import { fileURLToPath } from 'node:url';
import { spawnNode } from '../packages/gateway/test/support/spawn.ts';
import type { ReplyStats } from './load/provider.ts';
import { Reader, type ReaderOptions } from './load/reader.ts';
import type { Figures, Metric } from './figures.ts';
import type { Placement } from './placement.ts';
import { listening, type Program, stopAll } from './programs.ts';
import type { System } from './systems.ts';
import { busyUsOf, cpuUsOf } from './usage.ts';

/** What the systems are put to. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  run(bench: Bench): Promise<void>;
}

/** What a workload has to work with. */
export interface Bench {
  readonly systems: readonly System[];
  readonly placement: Placement;
  readonly figures: Figures;
  readonly rounds: Rounds;
}

/** How often something is measured that takes seconds, and something that takes a minute. */
export interface Rounds {
  readonly quick: number;
  readonly slow: number;
}

/** A system that runs, in front of the simulated provider. */
export interface Running {
  readonly system: System;
  readonly program: Program;
  readonly provider: Program;
  readonly placement: Placement;
}

/** Starts the simulated provider and the systems, one core for these and another for it; ends them all afterwards. */
export async function withSystems(
  { placement, systems }: Pick<Bench, 'placement' | 'systems'>,
  use: (running: readonly Running[]) => Promise<void>,
): Promise<void> {
  try {
    const provider = await startProvider(placement);
    const running: Running[] = [];
    for (const system of systems) {
      const program = await system.start(provider.url, { prefix: placement.system });
      running.push({ system, program, provider, placement });
      console.error(`  ${system.name} …`);
    }
    await use(running);
  } finally {
    await stopAll();
  }
}

async function startProvider({ load }: Placement): Promise<Program> {
  const program = fileURLToPath(new URL('load/provider.ts', import.meta.url));
  return await listening(spawnNode(program, [], { prefix: load }));
}

/** Asks a system for a stream. */
export function openReader(
  { system, program, provider }: Running,
  options: Omit<ReaderOptions, 'headers' | 'textKey' | 'url'>,
): Reader {
  return new Reader({
    ...options,
    url: program.url,
    headers: system.headers?.(provider.url) ?? {},
    ...(system.textKey === undefined ? {} : { textKey: system.textKey }),
  });
}

/** A listener's queue of those who wait to be taken is 511 long by default. */
const maxUnanswered = 256;

/** Opens streams one after the other, spread over time, and waits when the system does not come along. */
export async function openPaced(
  running: Running,
  count: number,
  perSecond: number,
  options: Parameters<typeof openReader>[1],
): Promise<Reader[]> {
  const readers: Reader[] = [];
  let answered = 0;
  const startMs = performance.now();
  while (readers.length < count) {
    const due = Math.min(count, ((performance.now() - startMs) * perSecond) / 1000, answered + maxUnanswered);
    while (readers.length < due) {
      const reader = openReader(running, options);
      readers.push(reader);
      void reader.first.then(
        () => (answered += 1),
        () => undefined,
      );
    }
    throwFailures(readers);
    await sleep(2);
  }
  return readers;
}

/** What went wrong with one reader is worth more than the figures of the others. */
export function throwFailures(readers: readonly Reader[]): void {
  for (const { failure } of readers) if (failure !== undefined) throw failure;
}

/** What the provider says of all replies since they were cleared. */
export async function repliesOf(provider: Program, withTimes = false): Promise<ReplyStats[]> {
  const response = await fetch(`${provider.url}/stats${withTimes ? '?times' : ''}`);
  return (await response.json()) as ReplyStats[];
}

/**
 * Cuts and forgets all replies, and waits until the system has done what it has to do then: some go on for a reader that
 * has left, and whoever is measured next should not share its core with them.
 */
export async function clearReplies(running: Running): Promise<void> {
  await (await fetch(`${running.provider.url}/stats`, { method: 'DELETE' })).arrayBuffer();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const stop = startCount(running);
    await sleep(200);
    if (stop().systemShare < 0.1) return;
  }
}

/** So that what is compiled and allocated once is there before anything is counted. */
export async function warmUp(one: Running): Promise<void> {
  const tokens = 500;
  const readers = Array.from({ length: 50 }, () =>
    openReader(one, { model: `warm:tokens=${tokens}`, tokens }),
  );
  await Promise.all(readers.map(({ done }) => done));
  for (const reader of readers) reader.leave();
  await clearReplies(one);
}

/** For processes that have just started: they are busy compiling themselves. */
export async function warmUpAll(running: readonly Running[]): Promise<void> {
  for (const one of running) for (let time = 0; time < 3; time += 1) await warmUp(one);
}

/** The model that writes so many tokens a second, for longer than anything is measured. */
export function steadyModel(tps: number): string {
  return `steady:tps=${tps},tokens=1000000`;
}

/** Waits until the provider has written nothing for some seconds, and returns what it has. */
export async function quietBytes({ provider }: Running, quietMs = 3000): Promise<number> {
  for (let before = -1; ;) {
    const now = (await repliesOf(provider)).reduce((sum, { bytes }) => sum + bytes, 0);
    if (now === before) return now;
    before = now;
    await sleep(quietMs);
  }
}

/** The CPU that everybody used between two moments. */
export interface Spent {
  readonly seconds: number;
  readonly systemUs: number;
  /** Of its core, the part that the system used; and of theirs that the provider and the readers did. */
  readonly systemShare: number;
  readonly loadShare: number;
  /** Of one core, what programs used that have nothing to do with it. 0 where nothing is pinned. */
  readonly othersShare: number;
}

/** Begins to count CPU, and returns what counts until now. Without a provider, this process is all of the load. */
export function startCount({
  placement,
  program,
  provider,
}: Pick<Running, 'placement' | 'program'> & Partial<Pick<Running, 'provider'>>): () => Spent {
  const now = (): { atMs: number; systemUs: number; loadUs: number; busyUs: number } => {
    const readers = process.cpuUsage();
    return {
      atMs: performance.now(),
      systemUs: cpuUsOf(program.command.process.pid ?? 0),
      loadUs:
        (provider === undefined ? 0 : cpuUsOf(provider.command.process.pid ?? 0)) +
        readers.user +
        readers.system,
      busyUs: busyUsOf(placement.cores),
    };
  };
  const before = now();
  return () => {
    const after = now();
    const wallUs = (after.atMs - before.atMs) * 1000;
    const systemUs = after.systemUs - before.systemUs;
    const loadUs = after.loadUs - before.loadUs;
    const othersUs = after.busyUs - before.busyUs - systemUs - loadUs;
    return {
      seconds: wallUs / 1e6,
      systemUs,
      systemShare: systemUs / wallUs,
      loadShare: loadUs / wallUs,
      othersShare: Math.max(0, othersUs / wallUs),
    };
  };
}

const share: Metric = { name: 'core used', unit: '%', digits: 0, hasRatio: false };
const load: Metric = { name: 'by the load', unit: '%', digits: 0, hasRatio: false };

/** More than this of a core used by others, and what was measured is measured again, so often in all. */
export const maxOthersShare = 0.1;
const maxAttempts = 3;

/** Measures until nobody disturbed it, and keeps what was disturbed least. */
export async function undisturbed<Measured extends { readonly spent: Spent }>(
  measure: () => Promise<Measured>,
): Promise<Measured> {
  let best = await measure();
  for (let attempt = 1; attempt < maxAttempts && best.spent.othersShare > maxOthersShare; attempt += 1) {
    const next = await measure();
    if (next.spent.othersShare < best.spent.othersShare) best = next;
  }
  return best;
}

/** What whoever reads the figures has to know of how they came about. */
export function noteLimits(figures: Figures, caseName: string, system: string, spent: Spent): void {
  figures.add(caseName, system, share, spent.systemShare * 100);
  figures.add(caseName, system, load, spent.loadShare * 100);
  if (spent.loadShare > maxLoadShare) figures.note(caseName, system, 'the load was the limit');
  if (spent.othersShare > maxOthersShare) figures.note(caseName, system, disturbed);
}

export const disturbed = 'disturbed by other programs';

/** More than this of its core, and the load generator is what is measured. */
export const maxLoadShare = 0.9;

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
