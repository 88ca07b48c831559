import type { Totals } from '../../packages/server/src/console/snapshot.ts';

/** As much as the gateway keeps. */
const maxSamples = 600;
/** After a longer hole the gateway's own history is fetched again. */
export const maxHoleMs = 3500;

/** Puts a sample behind those that are there; one that is not newer changes nothing. */
export function append(history: readonly Totals[], totals: Totals): readonly Totals[] {
  const last = history.at(-1);
  if (last !== undefined && totals.atMs <= last.atMs) return history;
  return [...history.slice(Math.max(0, history.length + 1 - maxSamples)), totals];
}

/** A history that was fetched, and what came live meanwhile. */
export function merge(fetched: readonly Totals[], live: readonly Totals[]): readonly Totals[] {
  const lastMs = fetched.at(-1)?.atMs ?? 0;
  return [...fetched, ...live.filter(({ atMs }) => atMs > lastMs)].slice(-maxSamples);
}

/**
 * How fast a counter grew, a second, between each sample and the one before; `null` for the first, and where the
 * gateway started anew.
 */
export function rates(history: readonly Totals[], counter: (totals: Totals) => number): (number | null)[] {
  return history.map((totals, at) => {
    const before = history[at - 1];
    return before === undefined ? null : rate(before, totals, counter);
  });
}

export function rate(before: Totals, after: Totals, counter: (totals: Totals) => number): number | null {
  const seconds = (after.atMs - before.atMs) / 1000;
  const grown = counter(after) - counter(before);
  return seconds <= 0 || grown < 0 ? null : grown / seconds;
}
