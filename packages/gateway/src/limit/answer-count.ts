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
  /** The estimate when it was looked at last; `undefined`: it was not. */
  #lookedAt: number | undefined;
  #awaited = Infinity;
  #tokens = 0;
  #lookAt = Infinity;

  /** The tokens when it was looked at last. */
  get tokens(): number {
    return this.#tokens;
  }

  /** The estimate at which it is to be looked at, because it may have the tokens then that are awaited. */
  get lookAt(): number {
    return this.#lookAt;
  }

  /** Whether it has the tokens that are awaited. */
  get isReached(): boolean {
    return this.#tokens >= this.#awaited;
  }

  /** The tokens at an estimate that is not before the last report. */
  tokensAt(estimate: number): number {
    return this.#reported + Math.max(0, estimate - this.#reportedAt);
  }

  /** Something is to be done when it has so many tokens. Default: nothing ever is. */
  awaits(tokens: number): void {
    this.#awaited = tokens;
    this.#lookAt = this.#nextLook();
  }

  /** The provider's newest events are looked at. `reported`: the tokens of its answer; `undefined`: they say nothing of it. */
  look(estimate: number, reported: number | undefined): void {
    this.#lookedAt = estimate;
    // A number that stands still while text comes is no running total.
    if (reported !== undefined && reported > this.#reported && estimate > this.#reportedAt) {
      this.#rate = Math.max(1, (reported - this.#reported) / (estimate - this.#reportedAt));
      this.#reported = reported;
      this.#reportedAt = estimate;
    }
    this.#tokens = this.tokensAt(estimate);
    this.#lookAt = this.#nextLook();
  }

  /** The provider has said how many tokens all answers of a conversation have, of which nothing is estimated. */
  total(tokens: number): void {
    this.#tokens = Math.max(this.#tokens, tokens);
  }

  #nextLook(): number {
    if (this.#awaited === Infinity) return Infinity;
    const now = this.#lookedAt;
    if (now === undefined) return 1;
    const isRunning = this.#reported > 0;
    const soon = isRunning || now < firstTokens ? Math.max(firstTokens, now * mostTimes) : Infinity;
    const then = Math.ceil(this.#reportedAt + (this.#awaited - this.#reported) / this.#rate);
    return Math.max(now + 1, Math.min(soon, then));
  }
}
