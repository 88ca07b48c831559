import { SpillwayError } from '../errors.ts';
import type { CreditAmount, CreditOptions } from './credit.ts';

/** A window and when it is filled up again. */
export interface ReplenisherOptions extends Omit<CreditOptions, 'initial'> {
  /** The part of the window that has to be used before it is granted anew. Above 0, up to 1; default 0.75. */
  readonly threshold?: number;
}

/** Decides, for the side that receives, when to grant and how much. */
export interface Replenisher {
  /**
   * Notes what was rendered, played or written. Returns the grant to send now, which is everything that
   * was used since the last one, or `undefined` while too little of the window is used.
   */
  used(amount: CreditAmount): CreditAmount | undefined;
}

/**
 * Grants in few large steps instead of one a chunk, and early enough that the sender does not run dry.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const replenisher = createReplenisher({ maxItems: 100 });
 * send({ grant: { items: 100 } });
 * for await (const chunk of chunks) {
 *   await render(chunk);
 *   const grant = replenisher.used({ items: 1 });
 *   if (grant !== undefined) send({ grant });
 * }
 * ```
 */
export function createReplenisher(options: ReplenisherOptions): Replenisher {
  const { maxBytes = Infinity, maxItems = Infinity, maxMs = Infinity, threshold = 0.75 } = options;
  if (!(threshold > 0 && threshold <= 1)) {
    throw new SpillwayError('invalid_option', `threshold: expected above 0 and up to 1, got ${threshold}.`);
  }
  let items = 0;
  let bytes = 0;
  let ms = 0;
  return {
    used(amount) {
      items += amount.items ?? 0;
      bytes += amount.bytes ?? 0;
      ms += amount.ms ?? 0;
      if (items < maxItems * threshold && bytes < maxBytes * threshold && ms < maxMs * threshold)
        return undefined;
      // Never more than the window: a chunk that was larger than all of it used only what there was.
      const grant = {
        ...(maxItems === Infinity ? {} : { items: Math.min(items, maxItems) }),
        ...(maxBytes === Infinity ? {} : { bytes: Math.min(bytes, maxBytes) }),
        ...(maxMs === Infinity ? {} : { ms: Math.min(ms, maxMs) }),
      };
      items = 0;
      bytes = 0;
      ms = 0;
      return grant;
    },
  };
}
