import type { TestContext } from 'vitest';

/** Skips a test where this machine lacks something; where `LACKS_FAIL` is set, that is a failure. */
export function needs(context: Pick<TestContext, 'skip'>, isThere: boolean, what: string): void {
  if (isThere) return;
  if (process.env['LACKS_FAIL'] !== undefined) throw new Error(`needs ${what}`);
  context.skip(`needs ${what}`);
}
