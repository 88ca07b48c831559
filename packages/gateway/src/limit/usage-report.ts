import type { LimitStore, QuotaState, RateQuota } from '@spillway/core';
import type { LimitScope } from '@spillway/server/limit/limit-error';
import { rateText } from './rate-words.ts';
import type { ConfiguredLimit } from './configured-limits.ts';
import type { Scope } from './scope.ts';
import type { TenantUsage, UsageBook } from './usage-book.ts';

/** How one limit stands. All numbers are in the unit of its setting; of money, in millionths of the currency. */
export interface LimitUse {
  readonly scope: LimitScope;
  /** The key that it belongs to; empty: it is one of the tenant. */
  readonly key: string;
  /** Its setting, such as `tokensPerDay`. */
  readonly name: string;
  readonly limit: number;
  /** Of a rate, of which `limit` is what may come at once. */
  readonly rate?: {
    /** As a setting has it: `10/s burst 20`. */
    readonly text: string;
    readonly perSecond: number;
    readonly burst: number;
  };
  readonly used: number;
  /** What running streams have reserved beyond that. */
  readonly reserved: number;
  /** What is left: limit − used − reserved, 0 or more. */
  readonly remaining: number;
  /** In how many milliseconds all of it is there again; `null`: that depends on streams that run. */
  readonly resetMs: number | null;
}

/** A tenant's use of its limits, and what it cost. */
export interface TenantReport {
  /** Its name; empty: whoever asks without a key. */
  readonly tenant: string;
  /** The currency of the money, such as `USD`; empty: none is named. */
  readonly currency: string;
  readonly streamsNow: number;
  /** What is counted. `null`: the store of limits does not answer, so nobody knows how they stand. */
  readonly limits: readonly LimitUse[] | null;
  /** The others: of each answer, end user and conversation, and paces. They are as configured, whether used or not. */
  readonly configured: readonly ConfiguredLimit[];
  readonly usage: TenantUsage;
}

export interface UsageReportOptions {
  readonly store: LimitStore;
  readonly book: UsageBook;
  /** The scopes of a tenant, and of one of its keys, or of all of them (`undefined`). */
  readonly scopesOf: (tenant: string, key: string | undefined) => readonly Scope[];
  readonly configuredOf: (tenant: string, key: string | undefined) => readonly ConfiguredLimit[];
  /** The tenants that somebody has given limits to, whether they ask or not. */
  readonly tenants: () => readonly string[];
  readonly streamsOf: () => ReadonlyMap<string, number>;
  readonly currency: () => string;
}

/** The tenants that are shown although they have not asked. Those with entries of their own come first. */
const maxConfigured = 1000;

/** Who may use how much, and has. */
export class UsageReport {
  readonly #options: UsageReportOptions;

  constructor(options: UsageReportOptions) {
    this.#options = options;
  }

  /** One tenant's report. `key`: of its keys, this one alone; `undefined`: all. */
  async of(tenant: string, key: string | undefined): Promise<TenantReport> {
    const { book, currency, streamsOf } = this.#options;
    return {
      tenant,
      currency: currency(),
      streamsNow: streamsOf().get(tenant) ?? 0,
      limits: await this.#limits(this.#options.scopesOf(tenant, key)),
      configured: this.#options.configuredOf(tenant, key),
      usage: book.usageOf(tenant),
    };
  }

  /** The reports of all tenants that have asked, and of at most 1,000 that are configured, by name. */
  async all(): Promise<TenantReport[]> {
    const { book, tenants } = this.#options;
    const names = new Set([...tenants().slice(0, maxConfigured), ...book.tenants]);
    const reports: TenantReport[] = [];
    for (const tenant of [...names].toSorted()) reports.push(await this.of(tenant, undefined));
    return reports;
  }

  async #limits(scopes: readonly Scope[]): Promise<LimitUse[] | null> {
    const named = scopes.flatMap(({ budgets, kind, places, rates, whose }) =>
      [...rates, ...places, ...budgets].map(({ name, quota }) => ({ kind, whose, name, quota })),
    );
    let states: readonly QuotaState[];
    try {
      states = await this.#options.store.read(
        named.map(({ quota }) => quota),
        new AbortController().signal,
      );
    } catch {
      return null;
    }
    return named.flatMap(({ kind, name, quota, whose }, index) => {
      const state = states[index];
      if (state === undefined) return [];
      const { reserved, resetMs, used } = state;
      const limit = quota.kind === 'rate' ? quota.burst : quota.limit;
      const remaining = Math.max(0, limit - used - reserved);
      const key = kind === 'key' ? whose : '';
      const use: LimitUse = {
        scope: kind,
        key,
        name,
        limit,
        ...(quota.kind === 'rate' && { rate: shownRate(quota) }),
        used,
        reserved,
        remaining,
        resetMs: resetMs ?? null,
      };
      return [use];
    });
  }
}

function shownRate({ burst, perSecond }: RateQuota): NonNullable<LimitUse['rate']> {
  return { text: rateText({ burst, perSecond }), perSecond, burst };
}
