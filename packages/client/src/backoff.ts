const firstMs = 100;
const mostMs = 10_000;

/**
 * The wait before attempt number `attempt`, from 0, in milliseconds. `random` is a number from 0 to less than 1. The
 * wait is between half and all of a bound that doubles (Brooker, "Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015: "equal jitter"). The wait has a random part. Without it, clients that lost the same gateway would all
 * come back at the same moment. At least half of the bound, so that no client uses up its short waits before a gateway
 * can be back.
 */
export function backoffMs(attempt: number, random: number): number {
  return ((1 + random) / 2) * Math.min(mostMs, firstMs * 2 ** attempt);
}
