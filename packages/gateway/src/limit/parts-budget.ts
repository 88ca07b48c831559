import type { QuotaState } from '@spillway/core';
import { SpillwayError } from '@spillway/core';
import { isInvalid } from './invalid-numbers.ts';
import type { LeaseHost } from './lease-host.ts';
import type { PartsTerms } from './lease-terms.ts';
import { unavailableError } from './limit-message.ts';

type Host = Pick<
  LeaseHost<never>,
  'errorOf' | 'minAnswerTokens' | 'storeFailed' | 'store' | 'whenStoreFails'
>;

/**
 * Refuses a call whose answers spend by leases of their own, where what was used of a budget leaves too little for one. It
 * only looks: nothing is reserved. What others have reserved refuses nobody here: an answer waits until it comes back.
 *
 * @throws {LimitError} if a budget is used up.
 * @throws {GatewayError} `limits_unavailable`: the store is away, and such calls are refused.
 */
export async function checkParts(
  host: Host,
  { scopes, spending }: PartsTerms,
  signal: AbortSignal,
): Promise<void> {
  const minTokens = host.minAnswerTokens;
  const claims = spending.firstClaims(minTokens);
  if (claims.length === 0) return;
  let states: readonly QuotaState[];
  try {
    states = await host.store.read(
      claims.map(({ quota }) => quota),
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SpillwayError) || isInvalid(error)) throw error;
    host.storeFailed(error);
    if (host.whenStoreFails === 'closed') throw unavailableError(error);
    return;
  }
  for (const [index, { atLeast, quota }] of claims.entries()) {
    const state = states[index];
    if (state === undefined || state.used + atLeast <= quota.limit) continue;
    // What is reserved outlives the window, and may come back at any time before its end.
    const retryAfterMs = state.reserved + atLeast <= quota.limit ? state.resetMs : undefined;
    const refusal = { isGranted: false, quota, state, retryAfterMs } as const;
    throw host.errorOf(scopes, refusal, { claims, minTokens, allowedTokens: undefined });
  }
}
