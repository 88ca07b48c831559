const firstMs = 100;
const mostMs = 10_000;

/**
 * How long to wait before attempt number `attempt`, from 0: anything up to a bound that doubles. Clients that
 * lost the same gateway at the same moment do not come back at the same moment.
 */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(mostMs, firstMs * 2 ** attempt);
}
