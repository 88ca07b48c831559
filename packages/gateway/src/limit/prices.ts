import { fitsAny } from '../config/glob.ts';
import type { Price } from '../config/limits.ts';

/**
 * What tokens of a model cost on a day, in millionths of the currency, rounded to the nearest; `undefined`: no row of the
 * table fits the model and has begun. The first that does counts.
 */
export function costOf(
  prices: readonly Price[],
  model: string | undefined,
  dateMs: number,
  { inputTokens, outputTokens }: { readonly inputTokens: number; readonly outputTokens: number },
): number | undefined {
  const price = prices.find((row) => row.sinceMs <= dateMs && fitsAny([row.model], model ?? ''));
  return price && Math.round((inputTokens * price.input + outputTokens * price.output) / 1_000_000);
}
