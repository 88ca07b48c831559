import type { Price } from '../config/limits.ts';
import { runsModel } from './asked-model.ts';
import type { LimitedRequest } from './limited-request.ts';
import { isFree } from './price-of.ts';
import type { Scope } from './scope.ts';

/**
 * Scopes with the budgets that a request may spend something of: no model is no token, and a model that costs nothing is no
 * money. Nobody is refused for what is not needed.
 */
export function spentBy(
  scopes: readonly Scope[],
  asked: Pick<LimitedRequest, 'method' | 'path'>,
  price: Price | undefined,
): readonly Scope[] {
  if (!runsModel(asked)) return scopes.map((scope) => ({ ...scope, budgets: [] }));
  if (price === undefined || !isFree(price)) return scopes;
  return scopes.map((scope) => ({
    ...scope,
    budgets: scope.budgets.filter(({ unit }) => unit === 'tokens'),
  }));
}
