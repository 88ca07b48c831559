import type { BudgetClaim, LeaseRequest, Quota, RateQuota } from '@spillway/core';
import { invalid } from '@spillway/core/invalid';
import { checkClaims, checkLease, checkLeaseRequest, checkQuota } from '@spillway/core/limit/limit-check';

/** A call of the script: `KEYS` and `ARGV`. */
export interface LimitCall {
  readonly keys: readonly string[];
  readonly words: readonly string[];
}

type Operation = 'extend' | 'open' | 'read' | 'renew' | 'settle';

/** What happened to a lease is remembered for so long after it has gone: an hour, and a word that is late. */
const rememberedMs = 3_900_000;

/** Where a cluster keeps a name together with others: what stands in its first braces. */
const tagForm = /^[^{]*\{([^}]+)\}/;

/** Names, as keys of Redis. */
export class LimitKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  open(request: LeaseRequest): LimitCall {
    checkLeaseRequest(request);
    const { budgets, lease, leaseMs, places, rates } = request;
    for (const rate of rates) checkRate(rate);
    return this.#ofLease('open', lease, leaseMs, [
      ...rates.map((quota) => ({ quota })),
      ...places.map((quota) => ({ quota })),
      ...budgets,
    ]);
  }

  ofLease(
    operation: 'extend' | 'settle',
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
  ): LimitCall {
    checkLease(lease, leaseMs);
    checkClaims(claims);
    return this.#ofLease(operation, lease, leaseMs, claims);
  }

  renew(leases: readonly string[], leaseMs: number): LimitCall {
    for (const lease of leases) checkLease(lease, leaseMs);
    return { keys: leases.map((lease) => this.#key('lease:', lease)), words: head('renew', leaseMs) };
  }

  read(quotas: readonly Quota[]): LimitCall {
    for (const quota of quotas) {
      checkQuota(quota);
      if (quota.kind === 'rate') checkRate(quota);
    }
    return {
      keys: quotas.map((quota) => this.#quotaKey(quota)),
      words: [...head('read', 0), ...quotas.flatMap((quota) => wordsOf({ quota }))],
    };
  }

  #ofLease(operation: Operation, lease: string, leaseMs: number, parts: readonly Part[]): LimitCall {
    const tag = tagOf(lease);
    for (const { quota } of parts) {
      if (tagOf(quota.key) !== tag)
        throw invalid(
          `names: expected the same text in braces in the lease and in the keys of all its quotas, got ${lease} and ${quota.key}.`,
        );
    }
    return {
      keys: [this.#key('lease:', lease), ...parts.map(({ quota }) => this.#quotaKey(quota))],
      words: [...head(operation, leaseMs), ...parts.flatMap(wordsOf)],
    };
  }

  #quotaKey({ key, kind }: Quota): string {
    return `${this.#key(`${kind}:`, key)}${kind === 'budget' ? '/sum' : ''}`;
  }

  #key(kind: string, name: string): string {
    return `${this.#prefix}${tagOf(name) === '' ? '{-}' : ''}${kind}${name}`;
  }
}

/** Divides names into runs that one call may have: of one place of a cluster, and not so many that others wait. */
export function runsOf<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string,
  atMost: number,
): Item[][] {
  const runs: Item[][] = [];
  const open = new Map<string, Item[]>();
  for (const item of items) {
    const tag = tagOf(nameOf(item));
    const run = open.get(tag);
    if (run !== undefined && run.length < atMost) run.push(item);
    else {
      const begun = [item];
      open.set(tag, begun);
      runs.push(begun);
    }
  }
  return runs;
}

/** A quota, and what a lease wants of it if it is a budget. */
interface Part extends Partial<Omit<BudgetClaim, 'quota'>> {
  readonly quota: Quota;
}

function tagOf(name: string): string {
  return tagForm.exec(name)?.[1] ?? '';
}

function head(operation: Operation, leaseMs: number): string[] {
  return [operation, String(leaseMs), String(rememberedMs)];
}

function wordsOf({ atLeast = 0, quota, spent = 0, want = 0 }: Part): string[] {
  if (quota.kind === 'rate') return ['rate', String(quota.perSecond), String(quota.burst)];
  if (quota.kind === 'places') return ['places', String(quota.limit)];
  const { limit, window } = quota;
  const numbers = [spent, want, atLeast].map(String);
  return ['budget', String(limit), typeof window === 'object' ? String(window.idleMs) : window, ...numbers];
}

/** A rate by itself is checked already. The script counts in millionths, exactly below 2^53. */
function checkRate({ burst, perSecond }: RateQuota): void {
  if (!(perSecond <= 1e9 && burst <= 1e9))
    throw invalid(
      `rate: expected up to 10^9 a second and a burst of up to 10^9, got ${perSecond} and ${burst}.`,
    );
}
