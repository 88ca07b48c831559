/** The first number in [low, high) for which a test holds that then holds for all behind it; `high` if none. */
export function firstWhere(low: number, high: number, holds: (value: number) => boolean): number {
  let from = low;
  let to = high;
  while (from < to) {
    // Not by shifting bits: positions may be beyond 2^31.
    const middle = from + Math.floor((to - from) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}
