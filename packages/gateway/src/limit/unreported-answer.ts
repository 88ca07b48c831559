import type { TokenUsage } from '@spillway/core/format/format';
import { sumOf } from './conversation-lease.ts';

/** The tokens of a second of sound, by OpenAI: of what a human says, and of what the model says. */
const heardPerSecond = 10;
const saidPerSecond = 20;

/** An estimate of the tokens in what a human says. */
export function heardTokens(ms: number): number {
  return Math.ceil((ms * heardPerSecond) / 1000);
}

/** An estimate of the tokens in what a model says. */
export function saidTokens(ms: number): number {
  return Math.ceil((ms * saidPerSecond) / 1000);
}

/**
 * The answer of a realtime model that is under way, in tokens: an estimate, for a conversation that ends before its provider
 * has reported it. Its prompt is the whole conversation until then: what the last answer had in all, and what came since.
 * Several answers at once have a prompt each.
 */
export class UnreportedAnswer {
  #contextTokens = 0;
  #outputTokens = 0;
  /** Answers that have begun and not ended. */
  #count = 0;
  /** Whether one was asked for that has not begun. */
  #isAsked = false;

  /** Of answers whose session ended before they did. */
  #lost: TokenUsage | undefined;

  /** What is to be paid for it; `undefined`: nothing is under way. */
  get usage(): TokenUsage | undefined {
    const answers = this.#count + (this.#isAsked ? 1 : 0);
    if (answers === 0) return this.#lost;
    return sumOf(this.#lost, {
      inputTokens: this.#contextTokens * answers,
      outputTokens: this.#outputTokens,
    });
  }

  /** The conversation has so many tokens more, which the next prompt has in it. */
  joined(tokens: number): void {
    this.#contextTokens += tokens;
  }

  /** An answer is asked for. */
  asked(): void {
    this.#isAsked = true;
  }

  /** What was asked for does not come. */
  refused(): void {
    this.#isAsked = false;
  }

  /** The provider has begun an answer. */
  began(): void {
    this.#count += 1;
    this.#isAsked = false;
  }

  /** So many tokens of an answer have come. What comes when it was reported is a part of that. */
  said(tokens: number): void {
    if (this.#count > 0) this.#outputTokens += tokens;
  }

  /** The provider has ended an answer. `reported`: its tokens. */
  ended({ inputTokens, outputTokens }: TokenUsage): void {
    this.#count = Math.max(0, this.#count - 1);
    if (this.#count === 0) this.#outputTokens = 0;
    if (inputTokens !== undefined) this.#contextTokens = inputTokens + (outputTokens ?? 0);
  }

  /** The session is over, and another one may follow: what is under way will not be reported. */
  lost(): void {
    this.#lost = this.usage;
    this.#count = 0;
    this.#outputTokens = 0;
    this.#isAsked = false;
  }
}
