import type { BudgetClaim, LimitRefusal, LimitStore } from '@spillway/core';
import type { LimitError } from '@spillway/server/limit/limit-error';
import type { PaceBook } from '@spillway/server/limit/pace-book';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Price } from '../config/limits.ts';
import type { RefusedQuota } from './limit-message.ts';
import type { PlaceQueue } from './place-queue.ts';
import type { Scope } from './scope.ts';
import type { Excess, Spending } from './spending.ts';

/** The tokens that limits count of a request. */
export interface CountedTokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Those of both that are an estimate: the provider did not say them. */
  readonly estimatedTokens: number;
  /** The price that its budgets were held against; `undefined`: no row of the table fitted. */
  readonly price: Price | undefined;
}

/** What a lease has used, when its request is over. */
export interface Settlement<Lease> extends CountedTokens {
  readonly lease: Lease;
  /** The lease's name in the store; `undefined`: it has nothing there. */
  readonly name: string | undefined;
  readonly claims: readonly BudgetClaim[];
  readonly excess: readonly Excess[];
  /** A question that is on its way; it never rejects. */
  readonly after: Promise<void> | undefined;
}

/** What a lease asks for when it is opened. */
export interface FirstClaims {
  readonly claims: readonly BudgetClaim[];
  /** What the smallest request would ask for. */
  readonly minTokens: number;
  /** What an answer in one piece may have by its request; `undefined`: the claims do not have it in them. */
  readonly allowedTokens: number | undefined;
}

/** Lends leases what they share, and gets their events. */
export interface LeaseHost<Lease> {
  readonly clock: ServerClock;
  readonly store: LimitStore;
  /** Aborted when no answer of the store is wanted any more. */
  readonly closing: AbortSignal;
  /** How long a lease holds without a word of this process. */
  readonly leaseMs: number;
  readonly waitTimeoutMs: number;
  readonly minAnswerTokens: number;
  readonly whenStoreFails: 'closed' | 'open';
  readonly queue: PlaceQueue;
  /** The paces that answers share. */
  readonly paces: PaceBook;
  opened(lease: Lease): void;
  settle(settlement: Settlement<Lease>): void;
  /** Ends a lease that nobody wants any more, with nothing spent. */
  giveBack(name: string): void;
  /** A call of the store has failed. */
  storeFailed(error: unknown): void;
  /** A request waits for a place. Another process may give one back, so the store is asked now and then. */
  awaitsPlace(): void;
  /** The error of a quota that refuses. */
  write(refused: RefusedQuota): LimitError;
  /** The error of a refusal by the store. Of a lease's `first` claims it is remembered, if it is sure for a while. */
  errorOf(scopes: readonly Scope[], refusal: LimitRefusal, first?: FirstClaims): LimitError;
  /** The error of an answer that has used up what it had when the store is away. */
  lostStoreError(spending: Spending): LimitError;
}
