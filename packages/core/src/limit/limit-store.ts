/**
 * When a budget begins again at nothing, by UTC: with each minute, day or month. `{ idleMs }`, a whole
 * number: when nothing was reserved or spent of it for so long.
 */
export type BudgetWindow = 'day' | 'minute' | 'month' | { readonly idleMs: number };

/**
 * A bound that several requests share. Its `key` names it among those of its kind in the store, for all processes that use
 * the store: at most 256 characters. Two quotas of one key are one quota; its numbers are those of whoever asks, and what is
 * used of it counts on where they change. One call may name each once.
 *
 * - `rate`: a token bucket. It fills by `perSecond`, and never holds more than `burst`. A request takes one.
 * - `places`: at most `limit` leases have it at once.
 * - `budget`: at most `limit` units are spent and reserved together within a window. A unit is whatever its user counts in:
 *   tokens, or millionths of a currency.
 */
export type Quota = BudgetQuota | PlacesQuota | RateQuota;

/** A token bucket: see {@link Quota}. */
export interface RateQuota {
  /** Says that it is a rate. */
  readonly kind: 'rate';
  /** Its name in the store. */
  readonly key: string;
  /** What comes back in a second: more than 0, fractions too. */
  readonly perSecond: number;
  /** A whole number, 1 or more. */
  readonly burst: number;
}

/** Places of leases: see {@link Quota}. */
export interface PlacesQuota {
  /** Says that it is one of places. */
  readonly kind: 'places';
  /** Its name in the store. */
  readonly key: string;
  /** A whole number, 0 or more. */
  readonly limit: number;
}

/** Units of a window: see {@link Quota}. */
export interface BudgetQuota {
  /** Says that it is a budget. */
  readonly kind: 'budget';
  /** Its name in the store. */
  readonly key: string;
  /** A whole number, 0 or more. */
  readonly limit: number;
  /** When it begins again. */
  readonly window: BudgetWindow;
}

/** What a lease wants of one budget, and what it has spent of it. All are whole numbers, 0 or more. */
export interface BudgetClaim {
  /** The budget. */
  readonly quota: BudgetQuota;
  /** What the lease has spent since it began, in all. Never less than in an earlier call, but for that of its end. */
  readonly spent: number;
  /** The slice to reserve beyond `spent`: what was reserved and not spent before is part of it. */
  readonly want: number;
  /** The least that helps. Less than that is refused. 0 ≤ `atLeast` ≤ `want`. */
  readonly atLeast: number;
}

/** What a new lease needs. Everything or nothing is taken. */
export interface LeaseRequest {
  /** A name of the lease that nobody else has: 1 to 64 characters. To ask again with the same name takes nothing twice. */
  readonly lease: string;
  /** How long the lease holds without a word of its owner, in milliseconds: a whole number from 1,000 to 3,600,000. */
  readonly leaseMs: number;
  /** Takes one request of each. */
  readonly rates: readonly RateQuota[];
  /** Takes a place of each, as long as the lease lives. */
  readonly places: readonly PlacesQuota[];
  /** Reserves a slice of each. */
  readonly budgets: readonly BudgetClaim[];
}

/** Everything was taken. */
export interface LimitGrant {
  /** `true`. */
  readonly isGranted: true;
  /** What is reserved of each budget beyond what is spent, in the order of the claims: `atLeast` ≤ it ≤ `want`. */
  readonly reserved: readonly number[];
  /** How what was asked for stands now, with what was taken: the rates, then the budgets, each in the order of the request. */
  readonly states: readonly QuotaState[];
}

/** Nothing was taken. */
export interface LimitRefusal {
  /** `false`. */
  readonly isGranted: false;
  /** The first quota that refuses: rates before places before budgets, each in the order of the request. */
  readonly quota: Quota;
  /** Its state, with this request not counted, nor what its own lease has reserved. */
  readonly state: QuotaState;
  /**
   * In how many milliseconds another try may succeed, if nobody else takes what comes back; `undefined`: that depends on
   * others, as with places and where only reservations are in the way of a budget, or it never does.
   */
  readonly retryAfterMs: number | undefined;
}

/** What a store says to a lease that is opened or extended. */
export type LimitAnswer = LimitGrant | LimitRefusal;

/** How a quota stands. */
export interface QuotaState {
  /** Rate: what is gone of the burst, rounded up. Places: leases. Budget: spent in its window. */
  readonly used: number;
  /** Budget: what leases have reserved beyond that. Otherwise 0. */
  readonly reserved: number;
  /**
   * Rate: until the bucket is full. Budget: until its window ends, or of `idleMs`, until it is forgotten if nobody uses it.
   * In milliseconds; 0: nothing is used. Places: `undefined`.
   */
  readonly resetMs: number | undefined;
}

/**
 * Where limits are kept: in this process, or in an engine that many processes share. A request takes a *lease*, which
 * holds its places and reserves slices of its budgets; the stream spends what is reserved; in the end it settles. The clock
 * is the store's own, for everybody who uses it. The rules have numbers; `limitRules` of `@spillway/core/testing` proves
 * each of them for a store.
 *
 * Spent ≤ spent + reserved ≤ limit always, for each budget, but for what was spent beyond a reservation (an overshoot: a
 * provider counted more), and for a limit that was lowered.
 */
export interface LimitStore {
  /**
   * Opens a lease. (1) Takes everything that is asked for, or nothing of anything: a refusal changes no quota. (2) Of any
   * number of processes and calls at once, never more is granted than a limit allows. (3) With the name of a lease that is
   * there nothing is taken again, and the answer is that of the first call, with the states of now. (13) The states of a
   * grant are what `read` says behind it.
   */
  open(request: LeaseRequest, signal: AbortSignal): Promise<LimitAnswer>;
  /**
   * Counts what a lease has spent, and reserves its next slice of each budget, all or none. (4) What is spent counts also
   * where the slice is refused, and beyond what was reserved. What was reserved before is part of the new slice; where that is
   * refused, the lease keeps what it had reserved, less what is told as spent now: it may be in use. (5) To ask again with the
   * same numbers counts nothing twice. It also renews the lease. (6) A lease that is gone is opened again, with no places:
   * nothing that was spent is lost. (13) holds here too.
   */
  extend(
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
    signal: AbortSignal,
  ): Promise<LimitAnswer>;
  /**
   * Ends a lease: counts the rest of what was spent (`want` and `atLeast` do not count), and frees its places and what it had
   * reserved. (7) What is told here is what the lease has spent: of more that was told before, the rest is taken back, as far
   * as it was told in the window that lasts. To settle again changes nothing, for at least an hour. What was spent by a lease that is
   * gone counts.
   * (15) For as long, what is settled stays settled: who extends the lease counts and reserves nothing, and is refused by the
   * first budget of which a slice is needed (`atLeast` > 0); who opens it takes nothing, and gets the answer of its first call,
   * with no slices if it was never opened.
   */
  settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<void>;
  /**
   * Says that leases live. (8) A lease whose owner is silent for longer than `leaseMs` is gone within a second of the next
   * call that concerns its quotas, its places free and what it reserved given back; what it had counted as spent stays.
   */
  renew(leases: readonly string[], leaseMs: number, signal: AbortSignal): Promise<void>;
  /** Says how quotas stand, in their order. Changes nothing. */
  read(quotas: readonly Quota[], signal: AbortSignal): Promise<readonly QuotaState[]>;
  /**
   * Closes the store. Leases stay, and go as in (8). (9) Later calls reject with `limits_closed`, and so does one that
   * waits.
   *
   * For all calls above: (10) While the engine fails they reject with `limits_failed`, within a deadline of the store's own;
   * what such a call asked for may have been taken or not, and goes as in (8). They work again when the engine does.
   * (11) When the signal is aborted they reject with its reason. (12) What the store keeps is bounded: nothing is kept of a
   * quota that is unused, and of a lease that is gone at most for a day. (14) Names and numbers that are out of the ranges
   * above reject with `invalid_option`, and take nothing.
   */
  close(): Promise<void>;
}
