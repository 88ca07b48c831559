import { createMemoryLimitStore } from '@spillway/core/limit/memory-limit-store';
import type { KeptStore, OpenStoreOptions } from './kept-store.ts';
import { LimitFile } from './limit-file.ts';
import { openRedisStore } from './open-redis-store.ts';
import { UsageBook } from './usage-book.ts';

/** How often what has changed is written. A crash loses at most so much of it. */
const writeEveryMs = 5000;
const filePrefix = 'file:';

/**
 * Opens what `limitStore` names: `undefined` is this process's memory.
 *
 * @throws {ConfigError} when it cannot be opened.
 */
export async function openLimitStore(
  where: string | undefined,
  options: OpenStoreOptions,
): Promise<KeptStore> {
  const { clock, log } = options;
  if (where === undefined) {
    const store = createMemoryLimitStore({ clock });
    return { store, book: new UsageBook(clock), close: () => store.close() };
  }
  if (!where.startsWith(filePrefix)) return openRedisStore(where, options);
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
