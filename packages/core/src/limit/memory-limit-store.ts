import type { Clock } from '../clock.ts';
import { invalid } from '../invalid.ts';
import { BookStore } from './book-store.ts';
import { LimitBook, type SavedBudget } from './limit-book.ts';
import type { LimitStore } from './limit-store.ts';

export type { SavedBudget } from './limit-book.ts';

/** How limits are kept in memory. */
export interface MemoryLimitStoreOptions {
  /** For leases and rates the time, for windows the date (`dateMs`: milliseconds since 1970). */
  readonly clock: Pick<Clock, 'nowMs'> & { dateMs(): number };
  /**
   * The budgets and the buckets that are kept, each: a whole number, 100 or more. Default: 100,000, of about 200 bytes each. Beyond
   * it a tenth is forgotten, those first of which the least is used; what is reserved is never forgotten.
   */
  readonly maxQuotas?: number;
  /** What an earlier store has `saved`. A budget whose window is over since then counts as nothing. */
  readonly saved?: readonly SavedBudget[];
}

/** A store of limits that can be kept over a restart. */
export interface MemoryLimitStore extends LimitStore {
  /** Grows with each budget that changes what `saved` returns. */
  readonly changes: number;
  /** What is spent of each budget, without leases, places and rates: those begin anew. May be written as JSON. */
  saved(): SavedBudget[];
}

/**
 * Keeps limits in this process's memory: of several processes each gives out the whole limit. Nothing waits: each call is
 * settled at once, and none fails. Of leases that are gone the latest 20,000 are remembered for an hour.
 *
 * @throws {SpillwayError} `invalid_option`; calls reject with it for numbers out of range.
 * @example
 * ```ts
 * const store = createMemoryLimitStore({ clock });
 * const quota = { kind: 'places', key: 'streams of clinic', limit: 20 } as const;
 * const answer = await store.open({ lease: 'a', leaseMs: 60_000, rates: [], places: [quota], budgets: [] }, signal);
 * if (answer.isGranted) await store.settle('a', [], signal);
 * ```
 */
export function createMemoryLimitStore(options: MemoryLimitStoreOptions): MemoryLimitStore {
  const { clock, maxQuotas = 100_000, saved = [] } = options;
  if (!(Number.isInteger(maxQuotas) && maxQuotas >= 100))
    throw invalid(`maxQuotas: expected a whole number, 100 or more, got ${maxQuotas}.`);
  return new BookStore(new LimitBook(clock, maxQuotas, saved));
}
