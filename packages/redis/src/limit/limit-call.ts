import { type BudgetClaim, type LeaseRequest, type Quota, SpillwayError } from '@spillway/core';

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

  open({ budgets, lease, leaseMs, places, rates }: LeaseRequest): LimitCall {
    checkLease(lease, leaseMs);
    checkQuotas(rates);
    checkQuotas(places);
    checkClaims(budgets);
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
    for (const quota of quotas) checkQuota(quota);
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

function checkLease(lease: string, leaseMs: number): void {
  if (!(lease.length >= 1 && lease.length <= 64))
    throw invalid(`lease: expected a name of 1 to 64 characters, got ${lease.length}.`);
  if (!(Number.isInteger(leaseMs) && leaseMs >= 1000 && leaseMs <= 3_600_000))
    throw invalid(`leaseMs: expected a whole number from 1,000 to 3,600,000, got ${leaseMs}.`);
}

function checkQuota(quota: Quota): void {
  if (quota.key.length > 256)
    throw invalid(`key of a quota: expected at most 256 characters, got ${quota.key.length}.`);
  if (quota.kind === 'rate') {
    // The script counts in millionths, exactly below 2^53.
    if (!(quota.perSecond > 0 && quota.perSecond <= 1e9 && quota.burst >= 1 && quota.burst <= 1e9))
      throw invalid(
        `rate: expected more than 0 a second and a burst of 1 or more, both up to 10^9, got ${quota.perSecond} and ${quota.burst}.`,
      );
    checkAmount('burst', quota.burst);
    return;
  }
  checkAmount('limit', quota.limit);
  if (quota.kind === 'budget' && typeof quota.window === 'object') checkAmount('idleMs', quota.window.idleMs);
}

/** Each key may be asked for once: the script reads all of them before it writes. */
function checkQuotas(quotas: readonly Quota[]): void {
  for (const quota of quotas) checkQuota(quota);
  if (quotas.length > 1 && new Set(quotas.map(({ key }) => key)).size < quotas.length)
    throw invalid('quotas: expected each key once, got one twice.');
}

function checkClaims(claims: readonly BudgetClaim[]): void {
  checkQuotas(claims.map(({ quota }) => quota));
  for (const { atLeast, spent, want } of claims) {
    checkAmount('spent', spent);
    checkAmount('want', want);
    checkAmount('atLeast', atLeast);
    if (atLeast > want) throw invalid(`atLeast: expected at most want (${want}), got ${atLeast}.`);
  }
}

function checkAmount(name: string, amount: number): void {
  if (!(Number.isSafeInteger(amount) && amount >= 0))
    throw invalid(`${name}: expected a whole number, 0 or more, got ${amount}.`);
}

function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}
