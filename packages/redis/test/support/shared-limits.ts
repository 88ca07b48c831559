import type { BudgetQuota, PlacesQuota, RateQuota } from '@spillway/core';

/** What the callers of promise 16 share. Each is small enough to be used up. */
export const sharedBudget: BudgetQuota = {
  kind: 'budget',
  key: 'tokens',
  limit: 9000,
  window: { idleMs: 3_600_000 },
};
export const sharedPlaces: PlacesQuota = { kind: 'places', key: 'streams', limit: 19 };
export const sharedRate: RateQuota = { kind: 'rate', key: 'requests', perSecond: 0.000_1, burst: 90 };

export const callerLeaseMs = 2000;
/** The set of leases that hold a place, as their callers say. */
export const witnessKey = 'witness';
/** Callers begin when it is there. */
export const startKey = 'start';

/** What a caller says of itself: it only grows. */
export interface CallerFigures {
  readonly calls: number;
  /** The requests that the rate granted. */
  readonly rated: number;
  /** The most leases that held a place at once, those of others too. */
  readonly most: number;
  readonly spent: number;
  /** What the caller takes for the date. */
  readonly date: number;
}
