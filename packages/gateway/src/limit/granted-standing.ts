import type { QuotaState } from '@spillway/core';
import type { LimitStanding } from '@spillway/server/limit/limit-headers';
import { allowedOf } from './limit-message.ts';
import type { Scope } from './scope.ts';

/**
 * What a client is told with a grant: of its rates and of its budgets in tokens, those of which least is left. `states`: how
 * all rates stand, then all budgets.
 */
export function grantedStanding(
  scopes: readonly Scope[],
  states: readonly QuotaState[],
  dateMs: number,
): LimitStanding {
  const quotas = [...scopes.flatMap(({ rates }) => rates), ...scopes.flatMap(({ budgets }) => budgets)];
  let requests: LimitStanding['requests'];
  let tokens: LimitStanding['tokens'];
  for (const [index, { quota, ...of }] of quotas.entries()) {
    const state = states[index];
    if (state === undefined || ('unit' in of && of.unit === 'cost')) continue;
    const allowed = allowedOf(quota, state);
    if (allowed === undefined) continue;
    if (quota.kind === 'rate') requests = tighter(requests, allowed);
    else tokens = tighter(tokens, allowed);
  }
  return { requests, tokens, dateMs };
}

function tighter<T extends { readonly remaining: number }>(one: T | undefined, other: T): T {
  return one === undefined || other.remaining < one.remaining ? other : one;
}
