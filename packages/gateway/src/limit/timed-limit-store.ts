import {
  type BudgetClaim,
  type LeaseRequest,
  type LimitAnswer,
  type LimitStore,
  type Quota,
  type QuotaState,
  SpillwayError,
} from '@spillway/core';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** Gets how long each call of a store took, and whether the store failed. A call that was aborted tells nothing of it. */
export type StoreCalled = (ms: number, hasFailed: boolean) => void;

/** A store whose calls are timed. */
export class TimedLimitStore implements LimitStore {
  readonly #store: LimitStore;
  readonly #clock: Pick<ServerClock, 'nowMs'>;
  readonly #called: StoreCalled;

  constructor(store: LimitStore, clock: Pick<ServerClock, 'nowMs'>, called: StoreCalled) {
    this.#store = store;
    this.#clock = clock;
    this.#called = called;
  }

  open(request: LeaseRequest, signal: AbortSignal): Promise<LimitAnswer> {
    return this.#timed(this.#store.open(request, signal));
  }

  extend(
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
    signal: AbortSignal,
  ): Promise<LimitAnswer> {
    return this.#timed(this.#store.extend(lease, leaseMs, claims, signal));
  }

  settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<void> {
    return this.#timed(this.#store.settle(lease, claims, signal));
  }

  renew(leases: readonly string[], leaseMs: number, signal: AbortSignal): Promise<void> {
    return this.#timed(this.#store.renew(leases, leaseMs, signal));
  }

  read(quotas: readonly Quota[], signal: AbortSignal): Promise<readonly QuotaState[]> {
    return this.#timed(this.#store.read(quotas, signal));
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #timed<Answer>(call: Promise<Answer>): Promise<Answer> {
    const beganMs = this.#clock.nowMs();
    try {
      const answer = await call;
      this.#called(this.#clock.nowMs() - beganMs, false);
      return answer;
    } catch (error) {
      if (error instanceof SpillwayError && error.code === 'limits_failed')
        this.#called(this.#clock.nowMs() - beganMs, true);
      throw error;
    }
  }
}
