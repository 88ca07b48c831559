import type { BudgetClaim, BudgetQuota } from '@spillway/core';
import type { Price } from '../config/limits.ts';
import { costOf } from './price-of.ts';
import type { Scope, ScopeBudget } from './scope.ts';

/** The most tokens that a slice has, and the least of one that is asked for in the middle of an answer. */
const sliceTokens = 1024;
const leastSliceTokens = 16;
/** A slice is at most this part of a budget: many streams can share a small one. */
const slicePart = 1 / 16;
/**
 * The part of an estimate that is counted as spent before the provider has said what it was. The rest stays reserved. What
 * proves to be too much is taken back with the end.
 */
const surePart = 0.75;
/** The part of a slice after which the next one is asked for. */
const askPart = 0.75;

/** What was used of a budget beyond what was reserved of it. It is beyond the limit where no more was left. */
export interface Excess {
  readonly quota: BudgetQuota;
  readonly tokens: number;
}

interface Claimed {
  readonly scope: Scope;
  readonly budget: ScopeBudget;
  /** What the store was told. It never becomes less before the end. */
  spent: number;
  /** Spent and reserved: what may be used. */
  held: number;
  /** Whether the store gave less than was wanted: the budget is near its end. */
  isScarce: boolean;
}

/**
 * What one request spends of its budgets, in tokens and in money. Plain sums: the store is asked by the lease.
 *
 * For each budget: spent ≤ what is used ≤ held, until an answer has passed {@link stopAt}.
 */
export class Spending {
  readonly #claims: readonly Claimed[];
  #price: Price | undefined;
  /** Whether the store has not answered, and more may come than was reserved. */
  #isAllowed = false;
  #inputTokens: number;
  /** The tokens of the answer at which the next slice is to be asked for. */
  askAt = Infinity;
  /** The tokens of the answer at which everything is used up that is reserved. */
  stopAt = Infinity;

  constructor(scopes: readonly Scope[], price: Price | undefined, inputTokens: number) {
    this.#claims = scopes.flatMap((scope) =>
      scope.budgets.map((budget) => ({ scope, budget, spent: 0, held: 0, isScarce: false })),
    );
    this.#price = price;
    this.#inputTokens = inputTokens;
  }

  /** What it costs by who answers; before that is known, by the dearest who may. */
  get price(): Price | undefined {
    return this.#price;
  }

  /**
   * A model is asked, of several that may be. Its price is at most the one that was reserved by, and may be more than that of the model
   * that was asked before. `undefined`: it has none.
   */
  costs(price: Price | undefined): void {
    this.#price = price;
    if (this.stopAt < Infinity) this.#look(0);
  }

  get inputTokens(): number {
    return this.#inputTokens;
  }

  /** Whether there is a budget at all. */
  get hasBudgets(): boolean {
    return this.#claims.length > 0;
  }

  /** The budget that is used up first. There must be one. */
  get tightest(): Pick<Claimed, 'budget' | 'held' | 'scope'> {
    const [first, ...others] = this.#claims;
    if (first === undefined) throw new Error('only a budget is used up');
    const stopOf = ({ budget, held }: Claimed): number => this.#tokensFor(budget, held);
    return others.reduce((least, claim) => (stopOf(claim) < stopOf(least) ? claim : least), first);
  }

  /**
   * The first claims: the prompt and the least of an answer, and better a slice of it, or so many tokens as it will have
   * where it cannot be ended.
   */
  firstClaims(minAnswerTokens: number, wholeTokens?: number): BudgetClaim[] {
    return this.#claims.map(({ budget }) => {
      const atLeast = this.#units(budget, minAnswerTokens);
      const better = wholeTokens === undefined ? this.#slice(budget, 0) : this.#units(budget, wholeTokens);
      return { quota: budget.quota, spent: 0, want: Math.max(atLeast, better), atLeast };
    });
  }

  /**
   * The claims of the next slices, with what is used up to now. A stream that has a token left keeps it in any case, and
   * one that has none needs some at least: of money, less than a token costs may be left, and whoever kept that would ask
   * again at once, for ever.
   */
  nextClaims(outputTokens: number): BudgetClaim[] {
    return this.#claims.map((claim) => {
      const { budget, held } = claim;
      const used = this.#units(budget, outputTokens);
      claim.spent = Math.max(claim.spent, Math.floor(used * surePart));
      const unsure = Math.max(0, used - claim.spent);
      const least = this.#units(budget, outputTokens + leastSliceTokens) - used;
      const hasToken = this.#tokensFor(budget, held) > outputTokens;
      const atLeast = hasToken ? held - claim.spent : unsure + Math.max(1, least);
      const want = Math.max(atLeast, unsure + this.#slice(budget, outputTokens));
      return { quota: budget.quota, spent: claim.spent, want, atLeast };
    });
  }

  /** The store has granted the claims. */
  granted(claims: readonly BudgetClaim[], reserved: readonly number[], outputTokens: number): void {
    this.#isAllowed = false;
    for (const [index, claim] of this.#claims.entries()) {
      const got = reserved[index] ?? 0;
      claim.held = claim.spent + got;
      claim.isScarce = got < (claims[index]?.want ?? 0);
    }
    this.#look(outputTokens);
  }

  /** The prompt has so many tokens, says the provider. */
  countInput(inputTokens: number, outputTokens: number): void {
    if (inputTokens === this.#inputTokens) return;
    this.#inputTokens = inputTokens;
    if (this.stopAt < Infinity) this.#look(outputTokens);
  }

  /** Until the store answers again, so many more tokens of the answer may come. */
  allow(outputTokens: number): void {
    this.#isAllowed = true;
    this.askAt = outputTokens + sliceTokens;
    this.stopAt = this.askAt;
  }

  /** The store did not answer: it is asked again when everything is used up that is reserved. */
  keepOn(): void {
    this.askAt = this.stopAt;
  }

  /** The last claims: what was used in all. */
  lastClaims(inputTokens: number, outputTokens: number): BudgetClaim[] {
    this.#inputTokens = inputTokens;
    return this.#claims.map((claim) => {
      claim.spent = this.#units(claim.budget, outputTokens);
      return { quota: claim.budget.quota, spent: claim.spent, want: 0, atLeast: 0 };
    });
  }

  /** The budgets in tokens of which more was used than was reserved, after {@link lastClaims}. */
  get excess(): Excess[] {
    return this.#claims
      .filter(({ budget, held, spent }) => budget.unit === 'tokens' && spent > held)
      .map(({ budget, held, spent }) => ({ quota: budget.quota, tokens: spent - held }));
  }

  /** Finds the tokens of the answer at which the first budget wants to be looked at, and is used up. */
  #look(outputTokens: number): void {
    if (this.#isAllowed) return;
    this.askAt = Infinity;
    this.stopAt = Infinity;
    for (const { budget, held, isScarce } of this.#claims) {
      const stopAt = this.#tokensFor(budget, held);
      // What is nearly used up is asked for once, at its end: then it is known whether others gave something back.
      const askAt = isScarce ? stopAt : outputTokens + Math.ceil((stopAt - outputTokens) * askPart);
      this.stopAt = Math.min(this.stopAt, stopAt);
      this.askAt = Math.min(this.askAt, askAt);
    }
  }

  /** The tokens of an answer that `units` of a budget are enough for, beside the prompt. */
  #tokensFor({ unit }: ScopeBudget, units: number): number {
    if (unit === 'tokens') return units - this.#inputTokens;
    const { input = 0, output = 0 } = this.#price ?? {};
    const left = units * 1_000_000 - this.#inputTokens * input;
    // Of what costs nothing there may be any amount, where the prompt is paid.
    if (output === 0) return left < 0 ? -Infinity : Infinity;
    return Math.floor(left / output);
  }

  /** What a prompt and so many tokens of its answer are in the unit of a budget. */
  #units({ unit }: ScopeBudget, outputTokens: number): number {
    if (unit === 'tokens') return this.#inputTokens + outputTokens;
    return costOf(this.#price, this.#inputTokens, outputTokens);
  }

  /** What the next slice has, in the unit of the budget, with the prompt where nothing of the answer is there yet. */
  #slice(budget: ScopeBudget, outputTokens: number): number {
    const until = this.#units(budget, outputTokens + sliceTokens);
    const slice = outputTokens === 0 ? until : until - this.#units(budget, outputTokens);
    return Math.min(slice, Math.ceil(budget.quota.limit * slicePart));
  }
}
