/**
 * What a tenant has used. Tokens are whole numbers, money is in millionths of the currency. What is saved and wasted is
 * counted in events with data, of which most formats send one a token.
 */
export interface UsageFigures {
  /** Requests that got a stream, whatever became of it, conversations and calls. They count when they end. */
  readonly requests: number;
  /** Requests that a limit refused. */
  readonly refused: number;
  /** Answers, conversations and calls that a limit ended. */
  readonly cut: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The tokens of both that no provider reported: they are estimates. */
  readonly estimatedTokens: number;
  /** What tokens cost by the table of prices. */
  readonly cost: number;
  /** The tokens for which the table has no price: they are not in `cost`. */
  readonly unpricedTokens: number;
  /** Estimate: what answers that were cancelled would still have had, if each were as long as the mean completed one. */
  readonly savedTokens: number;
  readonly savedCost: number;
  /** Tokens that came from the provider and were written to no reader. */
  readonly wastedTokens: number;
  readonly wastedCost: number;
  /** Tokens beyond what was left of a limit, which the provider counted and did not stream. */
  readonly overshootTokens: number;
}

export const noUsage: UsageFigures = {
  requests: 0,
  refused: 0,
  cut: 0,
  inputTokens: 0,
  outputTokens: 0,
  estimatedTokens: 0,
  cost: 0,
  unpricedTokens: 0,
  savedTokens: 0,
  savedCost: 0,
  wastedTokens: 0,
  wastedCost: 0,
  overshootTokens: 0,
};

export const figureNames = Object.keys(noUsage) as readonly (keyof UsageFigures)[];
