import type { LimitStore } from '@spillway/core';
import { createMemoryLimitStore } from '@spillway/core/limit/memory-limit-store';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import { ConfigError } from '../config/config-error.ts';
import { LimitFile } from './limit-file.ts';
import { UsageBook } from './usage-book.ts';

/** How often what has changed is written. A crash loses at most so much of it. */
const writeEveryMs = 5000;
const filePrefix = 'file:';

export interface OpenStoreOptions {
  readonly clock: Pick<ServerClock, 'dateMs' | 'every' | 'nowMs'>;
  readonly log: Pick<Logger, 'error' | 'info'>;
}

/** Where limits are kept, and what tenants have used. */
export interface KeptStore {
  readonly store: LimitStore;
  readonly book: UsageBook;
  /** Closes the store, and writes its file for the last time, if it has one. Never rejects. */
  close(): Promise<void>;
}

/**
 * Opens what `limitStore` names: `undefined` is this process's memory.
 *
 * @throws {ConfigError} when it cannot be opened.
 */
export async function openLimitStore(
  where: string | undefined,
  { clock, log }: OpenStoreOptions,
): Promise<KeptStore> {
  if (where === undefined) {
    const store = createMemoryLimitStore({ clock });
    return { store, book: new UsageBook(clock), close: () => store.close() };
  }
  if (!where.startsWith(filePrefix))
    throw new ConfigError('limitStore: expected file:PATH, got something that this gateway cannot open');
  const path = where.slice(filePrefix.length);
  const { file, kept } = await LimitFile.open(path);
  const store = createMemoryLimitStore({ clock, saved: kept.budgets });
  const book = new UsageBook(clock, kept.usage);
  let written = store.changes + book.changes;
  let writing: Promise<void> = Promise.resolve();
  let hasFailed = false;
  const write = async (): Promise<void> => {
    const changes = store.changes + book.changes;
    if (changes === written) return;
    try {
      await file.write({ budgets: store.saved(), usage: book.saved() });
      written = changes;
      if (hasFailed) log.info({ path }, 'limits are kept again');
      hasFailed = false;
    } catch (error) {
      // Once, and not every five seconds.
      if (!hasFailed)
        log.error({ path, code: (error as NodeJS.ErrnoException).code }, 'limits cannot be kept');
      hasFailed = true;
    }
  };
  let isWriting = false;
  const timer = clock.every(writeEveryMs, () => {
    if (isWriting) return;
    isWriting = true;
    writing = write().finally(() => (isWriting = false));
  });
  return {
    store,
    book,
    async close() {
      timer.stop();
      await store.close();
      await writing;
      await write();
      await file.close();
    },
  };
}
