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

/** A minute: over which rare things are counted, in the verdict and in the charts alike. */
const countedOverMs = 60_000;

/** How much a counter grew in the minute before each sample. The counters of a gateway begin with 0. */
export function overAMinute(
  history: readonly Totals[],
  startedAtMs: number,
  counter: (totals: Totals) => number,
): readonly number[] {
  let from = 0;
  return history.map((totals, at) => {
    while (from < at && (history[from]?.atMs ?? 0) < totals.atMs - countedOverMs) from += 1;
    const isYoung = totals.atMs - startedAtMs < countedOverMs;
    const before = isYoung ? 0 : counter(history[from] ?? totals);
    const grown = counter(totals) - before;
    // Less than before: it was started anew.
    return grown < 0 ? counter(totals) : grown;
  });
}

/** How much a counter grew in the last minute. */
export function lastMinute(
  history: readonly Totals[],
  startedAtMs: number,
  counter: (totals: Totals) => number,
): number {
  return overAMinute(history, startedAtMs, counter).at(-1) ?? 0;
}
