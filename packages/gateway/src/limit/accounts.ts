import type { LimitStore } from '@spillway/core';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { LimitSettings } from '../config/limits.ts';
import { configuredLimits } from './configured-limits.ts';
import { configuredScopes, limitedTenants } from './configured-scopes.ts';
import { LimitCounts } from './limit-counts.ts';
import type { OpenStoreOptions } from './kept-store.ts';
import { openLimitStore } from './open-limit-store.ts';
import { StreamUsage } from './stream-usage.ts';
import type { UsageBook } from './usage-book.ts';
import { UsageReport } from './usage-report.ts';

export interface AccountsOptions extends Omit<OpenStoreOptions, 'password' | 'whenStoreFails'> {
  /** All streams that run or are kept. */
  readonly streams: () => Iterable<GatewayStream>;
  /** The tenants of the conversations and calls that run, one for each. */
  readonly talking: () => Iterable<string>;
}

/** What tenants use: where it is counted, and who may look. There is none without limits and prices in the settings. */
export interface Accounts {
  readonly store: LimitStore;
  readonly book: UsageBook;
  readonly usage: StreamUsage;
  readonly report: UsageReport;
  readonly counts: LimitCounts;
  /** Of a store that is elsewhere, whether it works, as far as is known; otherwise `undefined`. */
  readonly isStoreUp: boolean | undefined;
  /** Puts other limits and prices in force; `undefined`: none. Where they are kept stays. */
  replace(settings: LimitSettings | undefined): void;
  /** Closes the store, and keeps what is to be kept. Never rejects. */
  close(): Promise<void>;
}

/**
 * Opens the accounts of all tenants.
 *
 * @throws {ConfigError} when the store of limits cannot be opened.
 */
export async function openAccounts(
  asked: LimitSettings,
  { streams, talking, ...options }: AccountsOptions,
): Promise<Accounts> {
  let settings: LimitSettings | undefined = asked;
  const kept = await openLimitStore(asked.store, {
    ...options,
    password: asked.storePassword,
    whenStoreFails: () => settings?.whenStoreFails ?? asked.whenStoreFails,
  });
  const { book, store } = kept;
  const counts = new LimitCounts();
  const streamsOf = (): Map<string, number> => {
    const running = new Map<string, number>();
    for (const { client, end, origin } of streams())
      if (end === undefined && origin.isOwn !== true)
        running.set(client.tenant, (running.get(client.tenant) ?? 0) + 1);
    for (const tenant of talking()) running.set(tenant, (running.get(tenant) ?? 0) + 1);
    return running;
  };
  return {
    store,
    book,
    counts,
    get isStoreUp() {
      return kept.isUp;
    },
    usage: new StreamUsage({
      book,
      counts,
      clock: options.clock,
      prices: () => settings?.prices ?? [],
      speechPrices: () => settings?.speechPrices ?? [],
    }),
    report: new UsageReport({
      store,
      book,
      scopesOf: (tenant, key) => (settings === undefined ? [] : configuredScopes(settings, tenant, key)),
      configuredOf: (tenant, key) => (settings === undefined ? [] : configuredLimits(settings, tenant, key)),
      tenants: () => (settings === undefined ? [] : limitedTenants(settings)),
      streamsOf,
      currency: () => settings?.currency ?? '',
    }),
    replace: (next) => {
      settings = next;
    },
    close: () => kept.close(),
  };
}
