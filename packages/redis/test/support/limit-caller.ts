/**
 * A process as a gateway is one, for the proof of promise 16: leases come and go, each spends no more than it was granted, and
 * what it does stands on standard output as it is done. Arguments: the URL of Redis, the caller's number, how many calls.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetClaim, LimitAnswer } from '@spillway/core';
import { createClient } from '@redis/client';
import { openRedisLimits } from '@spillway/redis';
import {
  callerLeaseMs,
  sharedBudget,
  sharedPlaces,
  sharedRate,
  startKey,
  witnessKey,
} from './shared-limits.ts';

const [url = '', caller = '', count = ''] = process.argv.slice(2);
const store = openRedisLimits({ url, deadlineMs: 5000 });
// Counts who holds a place, beside the store.
const witness = createClient({
  url,
  RESP: 2,
  disableClientInfo: true,
  maintNotifications: 'disabled',
});
witness.on('error', () => undefined);
await witness.connect();
const { signal } = new AbortController();
let calls = 0;
let rated = 0;
let most = 0;
let spentInAll = 0;

const claimOf = (spent: number, want: number): BudgetClaim => ({
  quota: sharedBudget,
  spent,
  want,
  atLeast: want === 0 ? 0 : 1,
});

async function called<T>(call: Promise<T>): Promise<T> {
  calls += 1;
  return call;
}

async function live(): Promise<void> {
  while (calls < Number(count)) {
    const lease = `${caller}-${randomUUID()}`;
    const isRated = calls % 3 === 0;
    const answer = await called(
      store.open(
        {
          lease,
          leaseMs: callerLeaseMs,
          rates: isRated ? [sharedRate] : [],
          places: [sharedPlaces],
          budgets: [claimOf(0, 7)],
        },
        signal,
      ),
    );
    if (!answer.isGranted) continue;
    if (isRated) rated += 1;
    await witness.sendCommand(['SADD', witnessKey, lease]);
    most = Math.max(most, Number(await witness.sendCommand(['SCARD', witnessKey])));
    await spend(lease, answer);
  }
}

async function spend(lease: string, granted: LimitAnswer): Promise<void> {
  let answer = granted;
  let used = 0;
  let told = 0;
  for (let slice = 0; slice < 3 && answer.isGranted; slice += 1) {
    const [reserved = 0] = answer.reserved;
    const tokens = told + reserved - used;
    used += slice === 2 ? Math.floor(tokens / 2) : tokens;
    spentInAll += slice === 2 ? Math.floor(tokens / 2) : tokens;
    // As a gateway does: what is used is not all told before the end. The rest stays reserved.
    told = Math.floor(used * 0.75);
    const unsure = used - told;
    const claim = { quota: sharedBudget, spent: told, want: unsure + 7, atLeast: unsure + 1 };
    answer = await called(store.extend(lease, callerLeaseMs, [claim], signal));
    tell();
  }
  await witness.sendCommand(['SREM', witnessKey, lease]);
  await called(store.settle(lease, [claimOf(used, 0)], signal));
}

function tell(): void {
  process.stdout.write(`${JSON.stringify({ calls, rated, most, spent: spentInAll, date: Date.now() })}\n`);
}

// All begin at once, or the first would be done before the last one is there.
tell();
while (Number(await witness.sendCommand(['EXISTS', startKey])) !== 1) await sleep(5);
await Promise.all(Array.from({ length: 4 }, live));
tell();
await store.close();
witness.destroy();
