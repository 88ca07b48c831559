import type { Clock } from '../clock.ts';
import { Budget } from './budget.ts';
import { LeaseBook, type Lease, type LeasePart } from './lease-book.ts';
import { checkClaims, checkLease, checkLeaseRequest, checkQuota } from './limit-check.ts';
import type {
  BudgetClaim,
  BudgetQuota,
  LeaseRequest,
  LimitAnswer,
  Quota,
  QuotaState,
  RateQuota,
} from './limit-store.ts';
import { TokenBucket } from './token-bucket.ts';

/** What is spent of a budget. */
export interface SavedBudget {
  /** Its name in the store. */
  readonly key: string;
  /** A whole number, 1 or more. */
  readonly spent: number;
  /** When its window began, in milliseconds since 1970; of `idleMs`, when it was used last. */
  readonly startMs: number;
  /** When its window ends, in milliseconds since 1970. More than `startMs`. */
  readonly endMs: number;
}

/** How often quotas that are unused are looked for. */
const sweepMs = 60_000;

/**
 * What is used of limits, as rules of {@link LimitStore} without time between question and answer.
 *
 * - A budget's `reserved` = the sum of `reserved` of the parts that live leases have of it, always.
 * - The count of a place = the live leases that have it.
 */
export class LimitBook {
  readonly #clock: Pick<Clock, 'nowMs'> & { dateMs(): number };
  readonly #maxQuotas: number;
  readonly #leases = new LeaseBook();
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #places = new Map<string, number>();
  readonly #budgets = new Map<string, Budget>();
  #sweptMs: number;
  #changes = 0;

  constructor(
    clock: Pick<Clock, 'nowMs'> & { dateMs(): number },
    maxQuotas: number,
    saved: readonly SavedBudget[],
  ) {
    this.#clock = clock;
    this.#maxQuotas = maxQuotas;
    this.#sweptMs = clock.nowMs();
    for (const { endMs, key, spent, startMs } of saved)
      this.#budgets.set(key, new Budget(spent, startMs, endMs));
  }

  /** Grows with each change of what is spent. */
  get changes(): number {
    return this.#changes;
  }

  /** The quotas that are used and the leases that are known, in all. */
  get size(): number {
    return this.#leases.size + this.#buckets.size + this.#places.size + this.#budgets.size;
  }

  saved(): SavedBudget[] {
    const dateMs = this.#clock.dateMs();
    return Array.from(this.#budgets)
      .filter(([, budget]) => budget.spent > 0 && !budget.isOver(dateMs))
      .map(([key, { endMs, spent, startMs }]) => ({ key, spent, startMs, endMs }));
  }

  open(request: LeaseRequest): LimitAnswer {
    checkLeaseRequest(request);
    const { budgets, lease: name, leaseMs, places, rates } = request;
    const nowMs = this.#begin();
    const there = this.#leases.live(name) ?? this.#leases.settled(name);
    if (there !== undefined) {
      // One that was extended or settled alone has no first answer.
      const reserved = budgets.map((_claim, index) => there.granted[index] ?? 0);
      return this.#grant(reserved, rates, budgets);
    }

    for (const quota of rates) {
      const waitMs = this.#buckets.get(quota.key)?.waitMs(quota, nowMs) ?? 0;
      if (waitMs > 0) return this.#refusal(quota, waitMs);
    }
    for (const quota of places)
      if ((this.#places.get(quota.key) ?? 0) >= quota.limit) return this.#refusal(quota, undefined);
    const known = this.#leases.gone(name)?.parts;
    for (const claim of budgets) {
      const { atLeast, quota } = claim;
      const unknown = Math.max(0, claim.spent - (known?.get(quota.key)?.spent ?? 0));
      if (unknown + atLeast > this.#left(quota))
        return this.#refusal(quota, this.#waitMs(quota, unknown + atLeast));
    }

    const lease = this.#leases.open(name, leaseMs, nowMs);
    for (const quota of rates) this.#bucket(quota.key, nowMs).take(quota, nowMs);
    for (const { key } of places) this.#places.set(key, (this.#places.get(key) ?? 0) + 1);
    lease.places = places.map(({ key }) => key);
    for (const claim of budgets) this.#spend(lease, claim);
    lease.granted = budgets.map((claim) => this.#reserve(lease, claim));
    return this.#grant(lease.granted, rates, budgets);
  }

  extend(name: string, leaseMs: number, claims: readonly BudgetClaim[]): LimitAnswer {
    checkLease(name, leaseMs);
    checkClaims(claims);
    const nowMs = this.#begin();
    if (this.#leases.settled(name) !== undefined) return this.#nothing(claims);
    const live = this.#leases.live(name);
    if (live !== undefined) this.#leases.renew(live, leaseMs, nowMs);
    const lease = live ?? this.#leases.open(name, leaseMs, nowMs);
    const kept = claims.map((claim) => this.#spend(lease, claim));
    const refusing = claims.find(({ atLeast, quota }) => atLeast > this.#left(quota));
    if (refusing !== undefined) {
      const { atLeast, quota: full } = refusing;
      const refusal = this.#refusal(full, this.#waitMs(full, atLeast));
      // It may be in use, although it was not told as spent.
      for (const [index, { quota }] of claims.entries()) this.#hold(lease, quota, kept[index] ?? 0);
      return refusal;
    }
    const reserved = claims.map((claim) => this.#reserve(lease, claim));
    return this.#grant(reserved, [], claims);
  }

  settle(name: string, claims: readonly BudgetClaim[]): void {
    checkLease(name);
    checkClaims(claims);
    const nowMs = this.#begin();
    if (this.#leases.settled(name) !== undefined) return;
    const lease = this.#leases.live(name) ?? this.#leases.open(name, 0, nowMs);
    for (const claim of claims) {
      this.#spend(lease, claim);
      this.#takeBack(lease, claim);
    }
    this.#end(lease, true, nowMs);
  }

  renew(names: readonly string[], leaseMs: number): void {
    const nowMs = this.#begin();
    for (const name of names) {
      checkLease(name, leaseMs);
      const lease = this.#leases.live(name);
      if (lease !== undefined) this.#leases.renew(lease, leaseMs, nowMs);
    }
  }

  read(quotas: readonly Quota[]): QuotaState[] {
    for (const quota of quotas) checkQuota(quota);
    this.#begin();
    return quotas.map((quota) => this.#state(quota));
  }

  /** Ends leases that have expired, and looks for what is unused. Returns the time. */
  #begin(): number {
    const nowMs = this.#clock.nowMs();
    this.#leases.expire(nowMs, (lease) => this.#end(lease, false, nowMs));
    if (nowMs - this.#sweptMs < sweepMs) return nowMs;
    this.#sweptMs = nowMs;
    this.#leases.forget(nowMs);
    const dateMs = this.#clock.dateMs();
    for (const [key, bucket] of this.#buckets) if (bucket.fullMs <= nowMs) this.#buckets.delete(key);
    for (const [key, budget] of this.#budgets)
      if (budget.reserved === 0 && budget.isOver(dateMs)) this.#budgets.delete(key);
    return nowMs;
  }

  #end(lease: Lease, isSettled: boolean, nowMs: number): void {
    for (const key of lease.places) {
      const left = (this.#places.get(key) ?? 0) - 1;
      if (left > 0) this.#places.set(key, left);
      else this.#places.delete(key);
    }
    lease.places = [];
    for (const [key, part] of lease.parts) {
      const budget = this.#budgets.get(key);
      if (budget === undefined) continue;
      giveBack(budget, part);
      if (budget.spent === 0 && budget.reserved === 0) this.#budgets.delete(key);
    }
    this.#leases.end(lease, isSettled, nowMs);
  }

  /** Counts what a lease has spent, and gives back what it had reserved. Returns what of that is not spent. */
  #spend(lease: Lease, { quota, spent }: BudgetClaim): number {
    const budget = this.#budget(quota);
    const part = lease.parts.get(quota.key) ?? { spent: 0, reserved: 0, inWindow: 0, endMs: 0 };
    lease.parts.set(quota.key, part);
    const { reserved } = part;
    giveBack(budget, part);
    const unknown = spent - part.spent;
    if (unknown <= 0) return reserved;
    budget.spent += unknown;
    part.spent = spent;
    const dateMs = this.#clock.dateMs();
    budget.touch(quota.window, dateMs);
    part.inWindow = (dateMs < part.endMs ? part.inWindow : 0) + unknown;
    part.endMs = budget.endMs;
    this.#changes += 1;
    return Math.max(0, reserved - unknown);
  }

  /** Takes back what was told of a lease beyond what it has spent in all: never what others have spent, in another window. */
  #takeBack(lease: Lease, { quota, spent }: BudgetClaim): void {
    const part = lease.parts.get(quota.key);
    if (part === undefined || this.#clock.dateMs() >= part.endMs) return;
    const budget = this.#budget(quota);
    const tooMuch = Math.min(part.spent - spent, part.inWindow, budget.spent);
    if (tooMuch <= 0) return;
    budget.spent -= tooMuch;
    part.spent -= tooMuch;
    this.#changes += 1;
  }

  /** Reserves the most that there is of a claim that was spent. */
  #reserve(lease: Lease, { quota, want }: BudgetClaim): number {
    const slice = Math.min(want, this.#left(quota));
    this.#hold(lease, quota, slice);
    return slice;
  }

  #hold(lease: Lease, quota: BudgetQuota, slice: number): void {
    const part = lease.parts.get(quota.key);
    if (slice === 0 || part === undefined) return;
    const budget = this.#budget(quota);
    budget.reserved += slice;
    part.reserved = slice;
    budget.touch(quota.window, this.#clock.dateMs());
  }

  /** What is left of a budget: nothing, where more was spent than was reserved. */
  #left(quota: BudgetQuota): number {
    const { reserved, used } = this.#state(quota);
    return Math.max(0, quota.limit - used - reserved);
  }

  #waitMs(quota: BudgetQuota, atLeast: number): number | undefined {
    const { reserved, resetMs, used } = this.#state(quota);
    // What is reserved outlives the window, and may come back at any time before its end.
    const needsWindow = used + atLeast > quota.limit;
    return needsWindow && reserved + atLeast <= quota.limit ? resetMs : undefined;
  }

  #grant(
    reserved: readonly number[],
    rates: readonly RateQuota[],
    claims: readonly BudgetClaim[],
  ): LimitAnswer {
    const states = [...rates, ...claims.map(({ quota }) => quota)].map((quota) => this.#state(quota));
    return { isGranted: true, reserved, states };
  }

  /** What a lease gets that has been settled. */
  #nothing(claims: readonly BudgetClaim[]): LimitAnswer {
    const refusing = claims.find(({ atLeast }) => atLeast > 0);
    if (refusing !== undefined) return this.#refusal(refusing.quota, undefined);
    return this.#grant(
      claims.map(() => 0),
      [],
      claims,
    );
  }

  #refusal(quota: Quota, retryAfterMs: number | undefined): LimitAnswer {
    return { isGranted: false, quota, state: this.#state(quota), retryAfterMs };
  }

  #state(quota: Quota): QuotaState {
    const unused: QuotaState = { used: 0, reserved: 0, resetMs: 0 };
    const { key, kind } = quota;
    if (kind === 'places') return { used: this.#places.get(key) ?? 0, reserved: 0, resetMs: undefined };
    if (kind === 'rate') return this.#buckets.get(key)?.stateAt(quota, this.#clock.nowMs()) ?? unused;
    return this.#budgets.get(key)?.stateAt(this.#clock.dateMs()) ?? unused;
  }

  #bucket(key: string, nowMs: number): TokenBucket {
    const there = this.#buckets.get(key);
    if (there !== undefined) return there;
    this.#makeRoom(this.#buckets, (bucket) => bucket.fullMs);
    const bucket = new TokenBucket(nowMs);
    this.#buckets.set(key, bucket);
    return bucket;
  }

  /** Returns a budget in its present window. */
  #budget({ key, window }: BudgetQuota): Budget {
    const dateMs = this.#clock.dateMs();
    const there = this.#budgets.get(key);
    there?.turn(window, dateMs);
    if (there !== undefined) return there;
    this.#makeRoom(this.#budgets, ({ reserved, spent }) => (reserved > 0 ? Infinity : spent));
    const budget = Budget.begin(window, dateMs);
    this.#budgets.set(key, budget);
    return budget;
  }

  #makeRoom<Kept>(kept: Map<string, Kept>, useOf: (one: Kept) => number): void {
    if (kept.size < this.#maxQuotas) return;
    const byUse = Array.from(kept, ([key, one]) => ({ key, use: useOf(one) })).toSorted(
      (a, b) => a.use - b.use,
    );
    for (const { key, use } of byUse.slice(0, Math.ceil(this.#maxQuotas / 10)))
      if (use < Infinity) kept.delete(key);
  }
}

function giveBack(budget: Budget, part: LeasePart): void {
  budget.reserved -= part.reserved;
  part.reserved = 0;
}
