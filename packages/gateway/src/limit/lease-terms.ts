import type { FormatName } from '@spillway/core/format/format';
import type { Price, TenantLimits } from '../config/limits.ts';
import type { LeaseHost } from './lease-host.ts';
import type { LimitedTarget } from './limited-request.ts';
import type { Scope } from './scope.ts';
import type { Spending } from './spending.ts';
import type { WholeAnswer } from './whole-answer.ts';

/** What a request is held against, by the settings of one moment. */
export interface LeaseTerms {
  readonly scopes: readonly Scope[];
  readonly spending: Spending;
  /** What its parts spend by leases of their own, and it does not; `undefined`: it has no such parts. */
  readonly parts: PartsTerms | undefined;
  /** What a target costs; `undefined`: it has no price. */
  readonly priceAt: (target: LimitedTarget) => Price | undefined;
  /** Whether no reload has changed the settings since. */
  readonly isInForce: () => boolean;
}

/** The budgets of which the parts of a call spend. */
export interface PartsTerms {
  readonly scopes: readonly Scope[];
  readonly spending: Spending;
}

/** What a lease is made of. */
export interface RequestLeaseOptions<Lease> {
  readonly tenant: string;
  readonly host: LeaseHost<Lease>;
  /** The name of the lease in the store. */
  readonly name: string;
  readonly terms: LeaseTerms;
  /**
   * The terms of now, for a lease that is not open yet.
   *
   * @throws {LimitError} if it is known to be refused by them.
   * @throws {GatewayError} `model_not_allowed`.
   */
  readonly termsNow: () => LeaseTerms;
  readonly limits: Pick<TenantLimits, 'answer' | 'priority'>;
  /** The format of the answer's events; `undefined`: unknown, and counted as OpenAI's. */
  readonly format: FormatName | undefined;
  /** What is reserved of an answer that cannot be ended; `undefined`: it can be. */
  readonly whole: WholeAnswer | undefined;
}
