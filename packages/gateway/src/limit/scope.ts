import type { BudgetQuota, PlacesQuota, RateQuota } from '@spillway/core';
import type { LimitScope } from '@spillway/server/limit/limit-error';
import type { ScopeLimits, SessionLimits } from '../config/limits.ts';

/** What a budget counts: tokens, or millionths of the currency. */
export type BudgetUnit = 'cost' | 'tokens';

/** One quota of a scope, with the setting that it comes from. */
interface ScopeRate {
  readonly name: string;
  readonly quota: RateQuota;
}

interface ScopePlaces {
  readonly name: string;
  readonly quota: PlacesQuota;
}

export interface ScopeBudget {
  readonly name: string;
  readonly quota: BudgetQuota;
  readonly unit: BudgetUnit;
}

/** The quotas of one tenant, key, end user or conversation. Made once for each, and used by all its requests. */
export interface Scope {
  readonly kind: LimitScope;
  /** Whose they are, for messages: the name of a tenant or key. Users and conversations are not named. */
  readonly whose: string;
  /** How the keys of its quotas begin in the store. */
  readonly id: string;
  readonly rates: readonly ScopeRate[];
  readonly places: readonly ScopePlaces[];
  readonly budgets: readonly ScopeBudget[];
  /** The pace that its answers share; `undefined`: none. */
  readonly tokensPerSecond: number | undefined;
}

/** How long a conversation may rest and is still the same. */
const sessionIdleMs = 86_400_000;

const budgetNames = [
  { name: 'tokensPerMinute', unit: 'tokens', window: 'minute' },
  { name: 'tokensPerDay', unit: 'tokens', window: 'day' },
  { name: 'tokensPerMonth', unit: 'tokens', window: 'month' },
  { name: 'costPerDay', unit: 'cost', window: 'day' },
  { name: 'costPerMonth', unit: 'cost', window: 'month' },
] as const satisfies readonly { name: keyof ScopeLimits; unit: BudgetUnit; window: BudgetQuota['window'] }[];

/** The scope of a tenant, a key or an end user; `undefined`: it has no limits. `id` as in {@link Scope}. */
export function openScope(
  kind: 'key' | 'tenant' | 'user',
  whose: string,
  id: string,
  limits: ScopeLimits,
): Scope | undefined {
  const { requests, streams, tokensPerSecond } = limits;
  const nameOf = (name: string): string =>
    kind === 'user' ? `user${name.charAt(0).toUpperCase()}${name.slice(1)}` : name;
  const rates: ScopeRate[] =
    requests === undefined
      ? []
      : [{ name: nameOf('requests'), quota: { kind: 'rate', key: `${id}requests`, ...requests } }];
  const places: ScopePlaces[] =
    streams === undefined
      ? []
      : [{ name: nameOf('streams'), quota: { kind: 'places', key: `${id}streams`, limit: streams } }];
  const budgets: ScopeBudget[] = budgetNames.flatMap(({ name, unit, window }) => {
    const limit = limits[name];
    if (limit === undefined) return [];
    return [{ name: nameOf(name), unit, quota: { kind: 'budget', key: `${id}${name}`, limit, window } }];
  });
  if (rates.length + places.length + budgets.length === 0 && tokensPerSecond === undefined) return undefined;
  return { kind, whose, id, rates, places, budgets, tokensPerSecond };
}

/** The scope of a conversation; `undefined`: it has no limits. */
export function openSessionScope(id: string, { tokens }: SessionLimits): Scope | undefined {
  if (tokens === undefined) return undefined;
  const quota: BudgetQuota = {
    kind: 'budget',
    key: `${id}tokens`,
    limit: tokens,
    window: { idleMs: sessionIdleMs },
  };
  return {
    kind: 'session',
    whose: '',
    id,
    rates: [],
    places: [],
    budgets: [{ name: 'sessionTokens', unit: 'tokens', quota }],
    tokensPerSecond: undefined,
  };
}

/** A scope without what a conversation around a request has already. */
export function budgetsOf(scope: Scope): Scope {
  return { ...scope, rates: [], places: [] };
}

/** A scope without what the requests within a call have for themselves. */
export function placesOf(scope: Scope): Scope {
  return { ...scope, budgets: [] };
}
