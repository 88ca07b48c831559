/** The tries that may come at once, when there were none for a while. */
const maxBalance = 100;
/** What each request adds: a tenth of the traffic may be tries. */
const perRequest = 0.1;

/**
 * How many second tries a provider gets: a tenth of its requests, and 100 at once when there were none for a while. Tries that
 * multiply the load of whom cannot bear it keep it from getting well (Google, "Site Reliability Engineering", chapter 22; the bucket
 * as in Finagle's `RetryBudget`).
 */
export class RetryBudget {
  #balance = maxBalance;

  /** A request is sent for the first time. */
  asked(): void {
    this.#balance = Math.min(maxBalance, this.#balance + perRequest);
  }

  /** Takes one try; `false`: there is none left. */
  take(): boolean {
    if (this.#balance < 1) return false;
    this.#balance -= 1;
    return true;
  }
}
