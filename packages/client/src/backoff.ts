const firstMs = 100;
const mostMs = 10_000;

/**
 * How long to wait before attempt number `attempt`, from 0, with a random number from 0 to less than 1: between a half and the whole of a bound that doubles
 * (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: "equal jitter"). Clients that lost the same gateway
 * at the same moment do not come back at the same moment, and none has used up its short waits before a gateway can be back.
 */
export function backoffMs(attempt: number, random: number): number {
  return ((1 + random) / 2) * Math.min(mostMs, firstMs * 2 ** attempt);
}
