/** Returns a value that should be an object; an empty object if it is none. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

/** Returns a value that should be a list; an empty list if it is none. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

/** Whether a value is a text, a list or an object, and not an empty one. */
export function isFilled(value: unknown): boolean {
  if (typeof value === 'string') return value !== '';
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

/** Returns a value that should be a number; `undefined` if it is none. */
export function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** No prompt and no answer has as many tokens as this. What a request costs stays far below 2^53. */
const mostTokens = 1_000_000_000;

/**
 * Returns a number of tokens that a provider reports: a whole number from 0 to 1,000,000,000; `undefined` if it is anything
 * else, which counts as not reported.
 */
export function tokenCountOf(value: unknown): number | undefined {
  const isCount = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= mostTokens;
  // Without the sign of −0.
  return isCount ? Math.abs(value) : undefined;
}

/** {@link tokenCountOf} of a prompt. Every prompt has tokens: a report that it has 0 of them does not know it. */
export function promptCountOf(value: unknown): number | undefined {
  const tokens = tokenCountOf(value);
  return tokens === 0 ? undefined : tokens;
}
