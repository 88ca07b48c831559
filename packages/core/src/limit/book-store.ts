import { SpillwayError } from '../errors.ts';
import type { LimitBook, SavedBudget } from './limit-book.ts';
import type { BudgetClaim, LeaseRequest, LimitAnswer, LimitStore, Quota, QuotaState } from './limit-store.ts';

/** A store of limits on a book, which other stores may share. */
export class BookStore implements LimitStore {
  readonly #book: LimitBook;
  #isClosed = false;

  constructor(book: LimitBook) {
    this.#book = book;
  }

  get changes(): number {
    return this.#book.changes;
  }

  saved(): SavedBudget[] {
    return this.#book.saved();
  }

  async open(request: LeaseRequest, signal: AbortSignal): Promise<LimitAnswer> {
    this.#check(signal);
    return this.#book.open(request);
  }

  async extend(
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
    signal: AbortSignal,
  ): Promise<LimitAnswer> {
    this.#check(signal);
    return this.#book.extend(lease, leaseMs, claims);
  }

  async settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<void> {
    this.#check(signal);
    this.#book.settle(lease, claims);
  }

  async renew(leases: readonly string[], leaseMs: number, signal: AbortSignal): Promise<void> {
    this.#check(signal);
    this.#book.renew(leases, leaseMs);
  }

  async read(quotas: readonly Quota[], signal: AbortSignal): Promise<readonly QuotaState[]> {
    this.#check(signal);
    return this.#book.read(quotas);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #check(signal: AbortSignal): void {
    if (this.#isClosed)
      throw new SpillwayError('limits_closed', 'The store of limits is closed: it takes no more calls.');
    signal.throwIfAborted();
  }
}
