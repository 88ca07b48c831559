import type { Price } from '../config/limits.ts';
import { fitsAny } from '../config/glob.ts';

/** The price of a model at a date, in milliseconds since 1970; `undefined`: no row of the table fits. */
export function priceOf(prices: readonly Price[], model: string, dateMs: number): Price | undefined {
  return prices.find((price) => price.sinceMs <= dateMs && fitsAny([price.model], model));
}

/** What so many tokens cost, in millionths of the currency, rounded up. */
export function costOf(price: Price | undefined, inputTokens: number, outputTokens: number): number {
  if (price === undefined) return 0;
  return Math.ceil((inputTokens * price.input + outputTokens * price.output) / 1_000_000);
}
