import { invalid } from '../invalid.ts';
import type { BudgetClaim, LeaseRequest, Quota } from './limit-store.ts';

/**
 * Checks what a lease is opened with, as each store of limits does before it looks at anything: names, numbers, and that
 * each quota is asked for once.
 *
 * @throws {SpillwayError} `invalid_option`, which says what was expected and what came.
 */
export function checkLeaseRequest({ budgets, lease, leaseMs, places, rates }: LeaseRequest): void {
  checkLease(lease, leaseMs);
  checkQuotas(rates);
  checkQuotas(places);
  checkClaims(budgets);
}

/**
 * Checks the name of a lease, and how long it holds.
 *
 * @throws {SpillwayError} `invalid_option`.
 */
export function checkLease(name: string, leaseMs = 1000): void {
  if (!(name.length >= 1 && name.length <= 64))
    throw invalid(`lease: expected a name of 1 to 64 characters, got ${name.length}.`);
  if (!(Number.isInteger(leaseMs) && leaseMs >= 1000 && leaseMs <= 3_600_000))
    throw invalid(`leaseMs: expected a whole number from 1,000 to 3,600,000, got ${leaseMs}.`);
}

/**
 * Checks claims of budgets.
 *
 * @throws {SpillwayError} `invalid_option`.
 */
export function checkClaims(claims: readonly BudgetClaim[]): void {
  checkQuotas(claims.map(({ quota }) => quota));
  for (const { atLeast, spent, want } of claims) {
    checkAmount('spent', spent);
    checkAmount('want', want);
    checkAmount('atLeast', atLeast);
    if (atLeast > want) throw invalid(`atLeast: expected at most want (${want}), got ${atLeast}.`);
  }
}

/**
 * Checks a quota by itself.
 *
 * @throws {SpillwayError} `invalid_option`.
 */
export function checkQuota(quota: Quota): void {
  const { key, kind } = quota;
  if (key.length > 256) throw invalid(`key of a quota: expected at most 256 characters, got ${key.length}.`);
  if (kind === 'rate') {
    if (!(quota.perSecond > 0 && Number.isSafeInteger(quota.burst) && quota.burst >= 1))
      throw invalid(
        `rate: expected more than 0 a second and a burst of 1 or more, got ${quota.perSecond} and ${quota.burst}.`,
      );
    return;
  }
  checkAmount('limit', quota.limit);
  if (kind === 'budget' && typeof quota.window === 'object') checkAmount('idleMs', quota.window.idleMs);
}

/** Each quota may be asked for once: it is either there for the request or not. */
function checkQuotas(quotas: readonly Quota[]): void {
  for (const quota of quotas) checkQuota(quota);
  if (quotas.length > 1 && new Set(quotas.map(({ key }) => key)).size < quotas.length)
    throw invalid('quotas: expected each key once, got one twice.');
}

function checkAmount(name: string, amount: number): void {
  if (!(Number.isSafeInteger(amount) && amount >= 0))
    throw invalid(`${name}: expected a whole number, 0 or more, got ${amount}.`);
}
