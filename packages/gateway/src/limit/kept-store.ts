import type { LimitStore } from '@spillway/core';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import type { StoreCalled } from './timed-limit-store.ts';
import type { UsageBook } from './usage-book.ts';

export interface OpenStoreOptions {
  readonly clock: Pick<ServerClock, 'dateMs' | 'every' | 'nowMs'>;
  readonly log: Pick<Logger, 'error' | 'info'>;
  /** The password of a Redis, if it needs one. */
  readonly password?: string | undefined;
  /** What becomes of requests while a store that is elsewhere is away: for the log. */
  readonly whenStoreFails: () => 'closed' | 'open';
  /** Gets each call of a store that is elsewhere. */
  readonly storeCalled?: StoreCalled;
}

/** Where limits are kept, and what tenants have used. */
export interface KeptStore {
  readonly store: LimitStore;
  readonly book: UsageBook;
  /** Of a store that is elsewhere, whether it works, as far as is known; otherwise absent. */
  readonly isUp?: boolean;
  /** Closes the store, and writes its file for the last time, if it has one. Never rejects. */
  close(): Promise<void>;
}
