import fc from 'fast-check';
import { inject } from 'vitest';
import keptSeeds from '../kept-seeds.json' with { type: 'json' };

declare module 'vitest' {
  interface ProvidedContext {
    /** How often a property is tried with a fresh seed, unless it says otherwise. */
    readonly propertyRuns: number | undefined;
    /** Whether there is a checkout to write seeds to. */
    readonly keepsSeeds: boolean;
  }
}

/** What makes fast-check try the same values again. */
export interface Seed {
  readonly seed: number;
  readonly path: string;
}

/** By the name of the property. */
export type KeptSeeds = Readonly<Record<string, readonly Seed[]>>;

/** Those of before, and what has failed in this process: a second try of a test begins with it. */
const keptBefore: Record<string, Seed[]> = Object.fromEntries(
  Object.entries(keptSeeds as KeptSeeds).map(([name, seeds]) => [name, [...seeds]]),
);

// One run takes a millisecond. The deadline is there so that a run that hangs fails with its seed, well
// before the test's own deadline ends everything without one.
const runDeadlineMs = 5000;
// All that shrinking may take, and one run of it: what hangs is tried over and over.
const shrinkDeadlineMs = 10_000;
const shrinkRunDeadlineMs = 1000;

/**
 * Checks a property with every seed that once made it fail, then with a fresh one. What fails is made as
 * small as it can be, and its seed is printed and, in Node, kept in `kept-seeds.json`.
 */
export async function checkProperty(
  name: string,
  property: fc.IRawProperty<unknown>,
  numRuns = 1000,
): Promise<void> {
  for (const seed of keptBefore[name] ?? []) {
    const again = await replay(name, property, seed);
    if (again.failed) throw await failure(again, 'A seed from kept-seeds.json fails again.');
  }
  const found = await fc.check(property, {
    numRuns: inject('propertyRuns') ?? numRuns,
    endOnFailure: true,
    plugins: [fc.timeout(runDeadlineMs)],
  });
  if (!found.failed) return;
  const smallest = await shrink(property, found);
  throw await failure(smallest, await keep(name, smallest));
}

async function replay(
  name: string,
  property: fc.IRawProperty<unknown>,
  seed: Seed,
): Promise<fc.RunDetails<unknown>> {
  try {
    return await fc.check(property, {
      ...seed,
      numRuns: 1,
      endOnFailure: true,
      plugins: [fc.timeout(runDeadlineMs)],
    });
  } catch (error) {
    // Its values are made in another way now, and the path leads nowhere.
    throw new Error(
      `A seed of "${name}" does not fit any more, take it out of kept-seeds.json: ${JSON.stringify(seed)}`,
      { cause: error },
    );
  }
}

async function shrink(
  property: fc.IRawProperty<unknown>,
  found: fc.RunDetails<unknown>,
): Promise<fc.RunDetails<unknown>> {
  const { counterexamplePath: path, seed } = found;
  if (path === null) return found;
  const plugins = [fc.interruptAfterTimeLimit(shrinkDeadlineMs), fc.timeout(shrinkRunDeadlineMs)];
  const smallest = await fc.check(property, { seed, path, numRuns: 1, plugins });
  // A failure that does not come again is one nevertheless.
  return smallest.failed ? smallest : found;
}

/** Returns what is to be said about it. */
async function keep(name: string, details: fc.RunDetails<unknown>): Promise<string> {
  const { counterexamplePath: path, seed } = details;
  if (path === null) return `There is no path to keep for the seed ${seed}.`;
  (keptBefore[name] ??= []).push({ seed, path });
  const entry = `${JSON.stringify({ seed, path })} of "${name}"`;
  if (!inject('keepsSeeds')) return `To try it first from now on, add it to kept-seeds.json: ${entry}.`;
  const { keepSeed } = await import('./kept-seeds.ts');
  keepSeed(name, { seed, path });
  return `Kept in kept-seeds.json, commit it with the mend: ${entry}.`;
}

async function failure(details: fc.RunDetails<unknown>, hint: string): Promise<Error> {
  const report = (await fc.asyncDefaultReportMessage(details)) ?? '';
  return new Error(`${report}\n\n${hint}`, { cause: details.errorInstance });
}
