import { SpillwayError } from '@spillway/core';
import { ConfigError } from '../config/config-error.ts';
import type { KeptStore, OpenStoreOptions } from './kept-store.ts';
import { TimedLimitStore } from './timed-limit-store.ts';
import { UsageBook } from './usage-book.ts';

/**
 * Opens limits on a Redis. Its client is loaded only here: who has none pays nothing for it. A Redis that is not there is no
 * reason not to start: `whenLimitStoreFails` says what happens meanwhile, and the log says that it is away.
 *
 * @throws {ConfigError} for a URL that is none.
 */
export async function openRedisStore(
  url: string,
  { clock, log, password, storeCalled, whenStoreFails }: OpenStoreOptions,
): Promise<KeptStore> {
  const { openRedisLimits } = await import('@spillway/redis');
  try {
    const limits = openRedisLimits({
      url,
      password,
      onChange: (problem) => {
        if (problem === undefined) log.info({ store: url }, 'the store of limits works again');
        else
          log.error({ store: url, reason: problem, requests: whenStoreFails() }, 'the store of limits fails');
      },
    });
    const store = storeCalled === undefined ? limits : new TimedLimitStore(limits, clock, storeCalled);
    return {
      store,
      book: new UsageBook(clock),
      get isUp() {
        return limits.problem === undefined;
      },
      close: () => limits.close(),
    };
  } catch (error) {
    if (!(error instanceof SpillwayError)) throw error;
    throw new ConfigError(`limitStore: ${error.message}`);
  }
}
