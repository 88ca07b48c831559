import type { TokenUsage } from '@spillway/core/format/format';
import { promptCountOf, tokenCountOf } from '@spillway/core/format/json-object';
import { AskedAnswers } from './asked-answers.ts';
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
 * What a realtime model has made and its provider has not reported, in tokens: an estimate, for an answer whose conversation ends
 * before it does, or that ends without a report. Its prompt is the whole conversation until then: what the last answer had in
 * all, and what came since. Several answers at once have a prompt each.
 */
export class UnreportedAnswer {
  #contextTokens = 0;
  #outputTokens = 0;
  /** Answers that have begun and not ended. */
  #count = 0;
  /** Those that were asked for and have not begun. */
  readonly #asked = new AskedAnswers();
  /** Answers with a prompt of their own, which says nothing of the conversation's. */
  #withOwnPrompt = 0;
  #lost: TokenUsage | undefined;

  /** Answers that are over, and nobody reports any more; `undefined`: there were none. */
  get lost(): TokenUsage | undefined {
    return this.#lost;
  }

  /** {@link lost}, and what is under way: all that is to be paid beside what was reported; `undefined`: nothing. */
  get usage(): TokenUsage | undefined {
    const answers = this.#count + this.#asked.count;
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

  /** Whether one is asked for that has not begun. */
  get isAsked(): boolean {
    return this.#asked.count > 0;
  }

  /** An answer is asked for. `hasOwnPrompt`: its prompt is not the conversation. `name`: by which a refusal may name it. */
  asked(hasOwnPrompt = false, name?: string): void {
    this.#asked.add(name);
    if (hasOwnPrompt) this.#withOwnPrompt += 1;
  }

  /** One that was asked for does not come. `name`: of the one; `undefined`: of one without a name, or of `any`. */
  refused(name: string | undefined, any = false): void {
    this.#asked.refused(name, any);
  }

  /** Another event has that name, too: no refusal of it gives an answer back. */
  unnamed(name: string): void {
    this.#asked.unnamed(name);
  }

  /** Whether one is being made. */
  get isMaking(): boolean {
    return this.#count > 0;
  }

  /** The provider has begun an answer. */
  began(): void {
    this.#count += 1;
    this.#asked.began();
  }

  /** So many tokens of an answer have come. What comes when it was reported is a part of that. */
  said(tokens: number): void {
    if (this.#count > 0) this.#outputTokens += tokens;
  }

  /**
   * The provider has ended an answer. `reported`: its tokens. Each number that is missing, or cannot be, is lost, and estimated: every
   * prompt has tokens, and so has an answer of which something came. One that `hasFailed` before its first word costs nothing.
   */
  ended(reported: TokenUsage | undefined, hasFailed: boolean): void {
    if (this.#count === 0 && this.isAsked) this.began();
    const input = promptCountOf(reported?.inputTokens);
    const output = tokenCountOf(reported?.outputTokens) || (this.#outputTokens > 0 ? undefined : 0);
    const isFree = hasFailed && input === undefined && output === 0;
    // Of one that nobody saw begin, what it reports shows that it was there.
    const wasThere = this.#count > 0 || input !== undefined || (output ?? 0) > 0;
    const answered = output ?? this.#outputTokens;
    if (wasThere && !isFree && (input === undefined || output === undefined)) {
      this.missed({
        inputTokens: input === undefined ? this.#contextTokens : 0,
        outputTokens: output === undefined ? answered : 0,
      });
    }
    if (output === undefined) this.#outputTokens = 0;
    this.#count = Math.max(0, this.#count - 1);
    if (this.#count === 0) this.#outputTokens = 0;
    if (input === undefined) {
      if (wasThere) this.#contextTokens += answered;
      return;
    }
    const inAll = input + answered;
    // Another one may end first: what is known of the conversation is not made smaller meanwhile.
    const isOfConversation = this.#withOwnPrompt === 0;
    this.#contextTokens = isOfConversation ? inAll : Math.max(this.#contextTokens, inAll);
    this.#withOwnPrompt = Math.max(0, this.#withOwnPrompt - 1);
  }

  /** What was used beside answers and is not reported, by an estimate. */
  missed(usage: TokenUsage): void {
    if ((usage.inputTokens ?? 0) + (usage.outputTokens ?? 0) > 0) this.#lost = sumOf(this.#lost, usage);
  }

  /** The session is over, and another one may follow: what is under way will not be reported. */
  sessionEnded(): void {
    this.#lost = this.usage;
    this.#count = 0;
    this.#outputTokens = 0;
    this.#asked.clear();
    this.#withOwnPrompt = 0;
  }
}
