import { SpillwayError } from '../errors.ts';
import type { CreditAmount, CreditOptions } from './credit-options.ts';
import { checkAmount, units, windowOf } from './window.ts';

/** A window and when it is filled up again. */
export interface ReplenisherOptions extends Omit<CreditOptions, 'initial'> {
  /** The part of the window that has to be used before it is granted anew. Above 0, up to 1; default 0.75. */
  readonly threshold?: number;
}

/** Decides, for the side that receives, when to grant and how much. */
export interface Replenisher {
  /**
   * Notes what was rendered, played or written: one whole chunk, or several. Returns the grant to send now, which is everything that
   * was used since the last one, or `undefined` while too little of the window is used.
   *
   * Of a window in bytes or milliseconds, something is kept back only while more waits to be used. Otherwise the sender might
   * wait with a chunk that is larger than what it has left, and this side for that chunk.
   *
   * @param options `moreWaits`: more of this stream was received, and is used next. Default: false.
   * @throws {SpillwayError} `invalid_option` when an amount is negative, fractional (items) or not a finite number.
   */
  used(amount: CreditAmount, options?: { readonly moreWaits?: boolean }): CreditAmount | undefined;
}

/**
 * Grants in few large steps instead of one a chunk, and early enough that the sender does not run dry: whatever the sizes
 * of its chunks, the sender does not wait while everything that it sent was used. It begins with a full window, and a
 * chunk is one item.
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
  // With the threshold, an item is left: all that the next chunk takes. What it takes of the others is not known.
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
        // Never more than the window: a chunk that was larger than all of it used only what there was.
        grant[unit] = Math.min(ungranted[unit], max[unit]);
        ungranted[unit] = 0;
      }
      return grant;
    },
  };
}
