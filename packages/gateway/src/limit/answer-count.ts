/** Until so many tokens came, an answer is looked at twice, to see whether its provider reports running totals. */
const firstTokens = 16;
/** Where it does, the next look is at most at so many times what came: how many tokens an event has may change. */
const mostTimes = 2;

/**
 * The tokens of an answer while it comes: what its provider has reported last, and an estimate of what came since. All
 * estimates are of the whole answer, and never become less.
 */
export class AnswerCount {
  #reported = 0;
  /** The estimate when that was reported. */
  #reportedAt = 0;
  /** The tokens that were reported for one that was estimated, between the last two reports: 1 or more. */
  #rate = 1;
  #looks = 0;

  /** The tokens at an estimate that is not before the last report. */
  tokensAt(estimate: number): number {
    return this.#reported + Math.max(0, estimate - this.#reportedAt);
  }

  /** The provider's newest events were looked at. `reported`: the tokens of its answer; `undefined`: they say nothing of it. */
  look(estimate: number, reported: number | undefined): void {
    this.#looks += 1;
    // A number that stands still while text comes is no running total.
    if (reported === undefined || reported <= this.#reported || estimate <= this.#reportedAt) return;
    this.#rate = Math.max(1, (reported - this.#reported) / (estimate - this.#reportedAt));
    this.#reported = reported;
    this.#reportedAt = estimate;
  }

  /** The estimate, beyond `now`, at which the answer is to be looked at, because it may have so many tokens then. */
  nextLook(tokens: number, now: number): number {
    if (tokens === Infinity) return Infinity;
    if (this.#looks === 0) return now + 1;
    const isRunning = this.#reported > 0;
    const soon = isRunning || now < firstTokens ? Math.max(firstTokens, now * mostTimes) : Infinity;
    const then = Math.ceil(this.#reportedAt + (tokens - this.#reported) / this.#rate);
    return Math.max(now + 1, Math.min(soon, then));
  }
}
