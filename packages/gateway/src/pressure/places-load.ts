/** Places that are given out, and who waits for one. */
export interface Places {
  readonly taken: number;
  readonly limit: number;
  readonly waiting: number;
  readonly maxWaiting: number;
}

/**
 * How full places are, as thresholds of pressure have it: the part that is taken; where requests wait, 1 and the part of the
 * queue that is full. 0 to 2.
 */
export function placesLoad({ limit, maxWaiting, taken, waiting }: Places): number {
  if (waiting > 0) return 1 + Math.min(1, waiting / Math.max(1, maxWaiting));
  return limit === 0 ? 0 : Math.min(1, taken / limit);
}
