/**
 * The first number in [low, high) for which a test holds; `high` if none. If the test holds for a number, it must hold
 * for all larger ones.
 */
export function firstWhere(low: number, high: number, holds: (value: number) => boolean): number {
  let from = low;
  let to = high;
  while (from < to) {
    // Not by shifting bits, because positions may be above 2^31.
    const middle = from + Math.floor((to - from) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}
