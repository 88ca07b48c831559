import type { Totals } from '../../packages/server/src/console/snapshot.ts';

/** A shorter or a smaller growth is noise. */
const leastMs = 20_000;
const overMs = 60_000;
const leastRatio = 0.1;

/**
 * When memory is full, if it goes on filling as it did in the last minute; `undefined`: it does not fill, or too little
 * of it is held to tell.
 */
export function fullInMs(totals: Totals, history: readonly Totals[]): number | undefined {
  const before = history.find(({ atMs }) => atMs >= totals.atMs - overMs);
  if (before === undefined) return undefined;
  const { atMs, heldBytes, heldLimitBytes } = totals;
  const overallMs = atMs - before.atMs;
  const grownBytes = heldBytes - before.heldBytes;
  if (overallMs < leastMs || grownBytes <= 0 || heldBytes < heldLimitBytes * leastRatio) return undefined;
  return Math.max(0, ((heldLimitBytes - heldBytes) * overallMs) / grownBytes);
}
