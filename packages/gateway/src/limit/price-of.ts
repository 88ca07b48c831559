import type { Price } from '../config/limits.ts';
import { fitsAny } from '../config/glob.ts';
import type { LimitedRequest, LimitedTarget } from './limited-request.ts';
import { modelNames } from './model-names.ts';

/**
 * The price of a model, by all its names, at a date in milliseconds since 1970; `undefined`: no row of the table fits.
 */
export function priceOf<Row extends Pick<Price, 'model' | 'sinceMs'>>(
  prices: readonly Row[],
  names: readonly string[],
  dateMs: number,
): Row | undefined {
  return prices.find(
    ({ model, sinceMs }) => sinceMs <= dateMs && names.some((name) => fitsAny([model], name)),
  );
}

/** A request, as prices look at it. */
export type PricedRequest = Pick<LimitedRequest, 'model' | 'provider' | 'replaced' | 'targets'>;

/**
 * The price of a request that `target` answers; `undefined`: that is no model of the operator's own name. Such a name may have a row of
 * its own, which comes first. A row that fits the target too, such as `*`, is none: what stands before it may be the target's.
 */
export function priceAt(
  prices: readonly Price[],
  { model = '', provider, replaced, targets }: PricedRequest,
  target: LimitedTarget | undefined,
  dateMs: number,
): Price | undefined {
  const name = replaced?.by ?? model;
  if (targets === undefined || target === undefined)
    return priceOf(prices, modelNames(name, provider.name), dateMs);
  const names = modelNames(target.model, target.provider.name);
  const own = priceOf(prices, [name], dateMs);
  const isOwn = own !== undefined && !names.some((each) => fitsAny([own.model], each));
  return isOwn ? own : priceOf(prices, names, dateMs);
}

/**
 * The price of a request before it is known which model answers it: of several targets the dearest; `undefined`: one of them has
 * none.
 */
export function dearestPrice(
  prices: readonly Price[],
  request: PricedRequest,
  dateMs: number,
): Price | undefined {
  let dearest: Price | undefined;
  for (const target of request.targets ?? [undefined]) {
    const price = priceAt(prices, request, target, dateMs);
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
