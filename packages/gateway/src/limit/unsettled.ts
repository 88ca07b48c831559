import type { BudgetClaim, LimitStore } from '@spillway/core';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { isInvalid } from './invalid-numbers.ts';

/** The leases that are kept while their store is away. Beyond that the oldest is lost, and counted. */
const maxKept = 10_000;
/** How long after a failure the store is asked again. */
const retryMs = 1000;
/** The leases that are settled at once when the store is back. */
const atOnce = 64;

/** Leases whose end the store does not know yet: it is told until it answers. */
export class Unsettled {
  readonly #store: LimitStore;
  readonly #clock: ServerClock;
  readonly #kept = new Map<string, readonly BudgetClaim[]>();
  #isRetrying = false;
  /** The leases whose end was never told: too many waited, or the store takes no such numbers. */
  lost = 0;

  constructor(store: LimitStore, clock: ServerClock) {
    this.#store = store;
    this.#clock = clock;
  }

  get size(): number {
    return this.#kept.size;
  }

  keep(lease: string, claims: readonly BudgetClaim[]): void {
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= maxKept && oldest !== undefined) {
      this.#kept.delete(oldest);
      this.lost += 1;
    }
    this.#kept.set(lease, claims);
    this.#later();
  }

  /**
   * Tells the store the ends that it does not know, each once: one that it does not take holds up no other. Never rejects.
   */
  async settleAll(signal: AbortSignal): Promise<void> {
    const all = [...this.#kept];
    for (let at = 0; at < all.length && !signal.aborted; at += atOnce) {
      const some = all.slice(at, at + atOnce);
      const told = await Promise.all(some.map(([lease, claims]) => this.#settle(lease, claims, signal)));
      // Where none was taken the store is away.
      if (!told.includes(true)) return;
    }
  }

  /** Returns whether the store has answered. */
  async #settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<boolean> {
    try {
      await this.#store.settle(lease, claims, signal);
      this.#kept.delete(lease);
      return true;
    } catch (error) {
      const isRefused = isInvalid(error);
      // The next round begins with others.
      this.#kept.delete(lease);
      if (isRefused) this.lost += 1;
      else this.#kept.set(lease, claims);
      return isRefused;
    }
  }

  async #retry(): Promise<void> {
    await this.settleAll(AbortSignal.timeout(10 * retryMs));
    this.#isRetrying = false;
    if (this.#kept.size > 0) this.#later();
  }

  #later(): void {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    this.#clock
      .after(retryMs, () => {
        void this.#retry();
      })
      .unref();
  }
}
