import { randomUUID } from 'node:crypto';
import { SpillwayError } from '@spillway/core';
import type { Settings } from '../../config/load.ts';
import type { Finding } from './finding.ts';

const check = 'limit store';

/** Whether limits can be counted where `limitStore` says, if that is a Redis. No limit is changed there. */
export async function checkLimitStore({ limits }: Pick<Settings, 'limits'>): Promise<Finding[]> {
  if (limits?.store === undefined || limits.store.startsWith('file:')) return [];
  // Its client is loaded only where it is needed.
  const { openRedisLimits, readRedisFacts } = await import('@spillway/redis');
  const where = { url: limits.store, password: limits.storePassword };
  try {
    const {
      address,
      keepsChanges,
      maxmemoryPolicy,
      version = 'of no known version',
    } = await readRedisFacts(where);
    const store = openRedisLimits({ ...where, deadlineMs: 5000 });
    try {
      // As a request does: one that is full answers questions, and takes no lease. A few bytes stay for an hour.
      const { signal } = new AbortController();
      const lease = `check-${randomUUID()}`;
      const place = { kind: 'places', key: 'check', limit: 1_000_000 } as const;
      await store.open({ lease, leaseMs: 1000, rates: [], places: [place], budgets: [] }, signal);
      await store.settle(lease, [], signal);
    } finally {
      await store.close();
    }
    const found: Finding[] = [{ check, status: 'ok', message: `${address} answers: Redis ${version}.` }];
    if (maxmemoryPolicy !== undefined && maxmemoryPolicy !== 'noeviction')
      found.push({
        check,
        status: 'warn',
        message: `Its maxmemory-policy is ${maxmemoryPolicy}: what is evicted is given out again. Set it to noeviction.`,
      });
    if (keepsChanges === false)
      found.push({
        check,
        status: 'warn',
        message:
          'It keeps no changes on a disk: after a restart of it nothing counts as used. Set appendonly to yes.',
      });
    return found;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const text = error instanceof SpillwayError ? `${message} (${error.code})` : message;
    return [{ check, status: 'fail', message: `Limits cannot be counted there: ${text}` }];
  }
}
