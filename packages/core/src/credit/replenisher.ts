import { SpillwayError } from '../errors.ts';
import type { CreditAmount, CreditOptions } from './credit-options.ts';
import { checkAmount, units, windowOf } from './window.ts';

/** The window, and the point at which it is granted anew. */
export interface ReplenisherOptions extends Omit<CreditOptions, 'initial'> {
  /** The part of the window that has to be used before a grant. Above 0, up to 1; default 0.75. */
  readonly threshold?: number;
}

/** Decides for the receiving side when to grant credit, and how much. */
export interface Replenisher {
  /**
   * Notes an amount that was rendered, played or written: one whole chunk, or several. Returns the grant to send now:
   * everything that was used since the last grant. Returns `undefined` while too little of the window is used.
   *
   * For a window in bytes or milliseconds, a grant is held back only while more chunks wait to be used. Otherwise the
   * sender might wait for credit with a chunk larger than its rest, while this side waits for that chunk.
   *
   * @param options `moreWaits`: more chunks of this stream were received, and are used next. Default: false.
   * @throws {SpillwayError} `invalid_option` when an amount is negative, fractional (items) or not a finite number.
   */
  used(amount: CreditAmount, options?: { readonly moreWaits?: boolean }): CreditAmount | undefined;
}

/**
 * Grants in few large steps instead of one for each chunk, and early enough that the sender does not run out of credit.
 * Once all sent chunks were used, the sender never waits, whatever the sizes of its chunks. The sender begins with a
 * full window, and a chunk is one item.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const replenisher = createReplenisher({ maxBytes: 65_536 });
 * send({ grant: { bytes: 65_536 } });
 * for await (const chunk of inbox) {
 *   await render(chunk);
 *   const grant = replenisher.used({ bytes: chunk.byteLength }, { moreWaits: inbox.waitingItems > 0 });
 *   if (grant !== undefined) send({ grant });
 * }
 * ```
 */
export function createReplenisher(options: ReplenisherOptions): Replenisher {
  const max = windowOf(options);
  const { threshold = 0.75 } = options;
  if (!(threshold > 0 && threshold <= 1)) {
    throw new SpillwayError('invalid_option', `threshold: expected above 0 and up to 1, got ${threshold}.`);
  }
  const counted = units.filter((unit) => max[unit] !== Infinity);
  // Below the threshold an item is always left, which the next chunk needs. How many bytes or milliseconds that chunk
  // needs is not known.
  const mayStarve = counted.some((unit) => unit !== 'items');
  const ungranted = { items: 0, bytes: 0, ms: 0 };
  return {
    used(amount, { moreWaits = false } = {}) {
      for (const unit of units) checkAmount(unit, amount[unit] ?? 0, 'invalid_option');
      for (const unit of counted) ungranted[unit] += amount[unit] ?? 0;
      const isDue = counted.some((unit) => ungranted[unit] >= max[unit] * threshold);
      const isRest = mayStarve && !moreWaits && counted.some((unit) => ungranted[unit] > 0);
      if (!isDue && !isRest) return undefined;
      const grant: { -readonly [unit in keyof CreditAmount]: number } = {};
      for (const unit of counted) {
        // At most the window, because a chunk larger than the window spent no more than that.
        grant[unit] = Math.min(ungranted[unit], max[unit]);
        ungranted[unit] = 0;
      }
      return grant;
    },
  };
}
