import type { Price } from '../config/limits.ts';
import { fitsAny } from '../config/glob.ts';
import type { LimitedRequest } from './limited-request.ts';
import { modelNames } from './model-names.ts';

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

/**
 * The price of a request before it is known which model answers it: of a name of the operator's own, that of its own row, and
 * without one the dearest of its targets; `undefined`: one of them has none.
 */
export function dearestPrice(
  prices: readonly Price[],
  { model = '', provider, targets }: Pick<LimitedRequest, 'model' | 'provider' | 'targets'>,
  dateMs: number,
): Price | undefined {
  if (targets === undefined) return priceOf(prices, modelNames(model, provider.name), dateMs);
  const own = priceOf(prices, [model], dateMs);
  if (own !== undefined) return own;
  let dearest: Price | undefined;
  for (const target of targets) {
    const price = priceOf(prices, modelNames(target.model, target.provider.name), dateMs);
    if (price === undefined) return undefined;
    const { input = 0, output = 0 } = dearest ?? {};
    dearest = { ...price, input: Math.max(price.input, input), output: Math.max(price.output, output) };
  }
  return dearest;
}

/** Whether nothing is paid for a model. */
export function isFree({ input, output }: Pick<Price, 'input' | 'output'>): boolean {
  return input === 0 && output === 0;
}

/** The most that anything costs, in millionths of the currency: no limit is as high, and some of it are a safe number. */
const mostCost = 1e15;

/** What so many tokens cost, in millionths of the currency, rounded up: at most 10^15, which is a billion of it. */
export function costOf(price: Price | undefined, inputTokens: number, outputTokens: number): number {
  if (price === undefined) return 0;
  return Math.min(mostCost, Math.ceil((inputTokens * price.input + outputTokens * price.output) / 1_000_000));
}
