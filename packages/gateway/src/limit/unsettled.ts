import type { BudgetClaim, LimitStore } from '@spillway/core';
import type { ServerClock } from '@spillway/server/time/server-clock';

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
  /** The leases whose end was never told, because too many waited. */
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

  /** Tells the store the ends that it does not know. Never rejects. */
  async settleAll(signal: AbortSignal): Promise<void> {
    while (this.#kept.size > 0) {
      const some = [...this.#kept].slice(0, atOnce);
      const told = await Promise.allSettled(
        some.map(async ([lease, claims]) => {
          await this.#store.settle(lease, claims, signal);
          this.#kept.delete(lease);
        }),
      );
      if (told.some(({ status }) => status === 'rejected')) return;
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
