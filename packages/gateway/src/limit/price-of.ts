import type { Price } from '../config/limits.ts';
import { fitsAny } from '../config/glob.ts';

/**
 * The price of a model, by all its names, at a date in milliseconds since 1970; `undefined`: no row of the table fits.
 */
export function priceOf(
  prices: readonly Price[],
  names: readonly string[],
  dateMs: number,
): Price | undefined {
  return prices.find(
    ({ model, sinceMs }) => sinceMs <= dateMs && names.some((name) => fitsAny([model], name)),
  );
}

/** The most that anything costs, in millionths of the currency: no limit is as high, and some of it are a safe number. */
const mostCost = 1e15;

/** What so many tokens cost, in millionths of the currency, rounded up: at most 10^15, which is a billion of it. */
export function costOf(price: Price | undefined, inputTokens: number, outputTokens: number): number {
  if (price === undefined) return 0;
  return Math.min(mostCost, Math.ceil((inputTokens * price.input + outputTokens * price.output) / 1_000_000));
}
