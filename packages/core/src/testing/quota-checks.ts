import { calendarBounds } from '../limit/calendar.ts';
import type { BudgetClaim, LimitAnswer, LimitStore, Quota } from '../limit/limit-store.ts';
import type { LimitProof, Wish } from './limit-proof.ts';

/** How long a clock may go on while a call is on its way. */
const slackMs = 2000;

export async function allOrNothing(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const rates = [proof.rate('r1', 0.0001, 5), proof.rate('r2', 0.0001, 5)];
  const places = [proof.places('p1', 5), proof.places('p2', 5)];
  const budgets = [proof.budget('b1', 500), proof.budget('b2', 500)];
  const quotas: Quota[] = [...rates, ...places, ...budgets];
  const wish = { rates, places, budgets: budgets.map((quota) => proof.claim(quota, 0, 100)) };
  await proof.open(store, proof.name(), wish);
  for (const refusing of quotas.toReversed()) {
    // From here on this one refuses, and those behind it too: the first of them is named.
    if (refusing.kind === 'rate')
      for (let index = 0; index < 4; index += 1)
        await proof.open(store, proof.name(), { rates: [{ ...refusing, burst: 5 }] });
    else if (refusing.kind === 'places')
      for (let index = 0; index < 4; index += 1)
        await proof.open(store, proof.name(), { places: [refusing] });
    else await proof.open(store, proof.name(), { budgets: [proof.claim(refusing, 0, 350)] });
    const before = await Promise.all(quotas.map((quota) => proof.state(store, quota)));
    const { retryAfterMs, state } = await proof.expectRefused(
      refusing.key,
      proof.open(store, proof.name(), wish),
      refusing,
    );
    const used = refusing.kind === 'budget' ? [0, 450] : [5, 0];
    proof.expect(`state of ${refusing.key} in the refusal`, [state.used, state.reserved], used);
    if (refusing.kind === 'rate') proof.expectBetween('retryAfterMs', retryAfterMs, 1, 10_000_000);
    else proof.expect('retryAfterMs where it depends on others', retryAfterMs, undefined);
    for (const [index, quota] of quotas.entries())
      await proof.expectState(
        `after a refusal by ${refusing.key}`,
        store,
        quota,
        before[index]?.used ?? -1,
        before[index]?.reserved,
      );
  }
}

export async function slices(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const quota = proof.budget('tokens', 100);
  const other = proof.budget('money', 1000);
  await proof.expectGranted(
    'a first slice, with something spent',
    proof.open(store, 'a', { budgets: [proof.claim(quota, 10, 40), proof.claim(other, 0, 0)] }),
    40,
    0,
  );
  await proof.expectState('after it', store, quota, 10, 40);
  await proof.expectGranted(
    'as much as is left',
    proof.open(store, 'b', { budgets: [proof.claim(quota, 0, 80, 20)] }),
    50,
  );
  await proof.expectGranted(
    'nothing, where nothing is enough',
    proof.open(store, 'c', { budgets: [proof.claim(quota, 0, 10, 0)] }),
    0,
  );
  await proof.expectRefused(
    'one more',
    proof.open(store, 'd', { budgets: [proof.claim(quota, 0, 10, 1)] }),
    quota,
  );
  const { retryAfterMs } = await proof.expectRefused(
    'more than the limit',
    proof.open(store, 'e', { budgets: [proof.claim(other, 0, 1001)] }),
    other,
  );
  proof.expect('retryAfterMs of what never succeeds', retryAfterMs, undefined);
  // 10 are spent of 100, and the others are reserved: what is spent is not why it refuses.
  const { retryAfterMs: ofOthers } = await proof.expectRefused(
    'what only reservations are in the way of',
    proof.open(store, 'g', { budgets: [proof.claim(quota, 0, 10)] }),
    quota,
  );
  proof.expect('retryAfterMs where only reservations are in the way', ofOthers, undefined);
  // The numbers of a quota are those of whoever asks.
  await proof.expectGranted(
    'with a higher limit',
    proof.open(store, 'f', { budgets: [proof.claim({ ...quota, limit: 120 }, 0, 30, 5)] }),
    20,
  );
}

export async function bursts(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const rate = proof.rate('requests', 2, 3);
  const open = (from: LimitStore): Promise<LimitAnswer> => proof.open(from, proof.name(), { rates: [rate] });
  proof.expect('a bucket that is unused', await proof.state(store, rate), {
    used: 0,
    reserved: 0,
    resetMs: 0,
  });
  const answers = await Promise.all(Array.from({ length: 9 }, (_, index) => open(index % 2 ? store : other)));
  const granted = answers.filter(({ isGranted }) => isGranted).length;
  // One comes back each half second, and nine calls may take a while.
  proof.expectBetween('grants at once of a burst of 3', granted, 3, 5);
  let waitMs = 0;
  for (const answer of answers) if (!answer.isGranted) waitMs = answer.retryAfterMs ?? -1;
  proof.expectBetween('retryAfterMs at 2 a second', waitMs, 1, 500);
  const state = await proof.state(store, rate);
  proof.expectBetween('used of an empty bucket', state.used, 2, 3);
  proof.expectBetween('resetMs of an empty bucket', state.resetMs, 500, 1500);
  await proof.pass(500);
  await proof.expectGranted('after retryAfterMs', open(other));
  await proof.pass(1600);
  await proof.expectState('a bucket that had its time', store, rate, 0);
  const slow = proof.rate('slow', 0.001, 7);
  const many = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      proof.open(index % 2 ? store : other, proof.name(), { rates: [slow] }),
    ),
  );
  proof.expect('grants of a burst of 7', many.filter(({ isGranted }) => isGranted).length, 7);
  await proof.expectState('all of the burst is gone', store, slow, 7);
}

/** What was used is the same before and behind each change, and the rest of the new burst is there to be had. */
export async function changedBursts(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const rate = proof.rate('requests', 0.0001, 2);
  const higher = { ...rate, burst: 100 };
  const open = (quota: typeof rate): Promise<LimitAnswer> =>
    proof.open(store, proof.name(), { rates: [quota] });
  await proof.expectGranted('the first of a burst of 2', open(rate));
  await proof.expectState('with a burst of 100', store, higher, 1);
  for (let index = 0; index < 49; index += 1)
    await proof.expectGranted('as many as a burst of 100 has left', open(higher));
  await proof.expectState('after 50 of 100', store, higher, 50);
  await proof.expectState('with a burst that is lower than what was used', store, rate, 2);
  await proof.expectRefused('one more of a burst of 2', open(rate), rate);
  await proof.expectState('with the burst of 100 again', store, higher, 50);
}

export async function crowd(proof: LimitProof): Promise<void> {
  const stores = await Promise.all([proof.store(), proof.store(), proof.store(), proof.store()]);
  const place = proof.places('streams', 10);
  const budget = proof.budget('tokens', 1000);
  const names = Array.from({ length: 200 }, () => proof.name());
  const openAll = async (wish: Wish): Promise<string[]> => {
    const answers = await Promise.all(
      names.map(async (name, index) => proof.open(stores[index % 4] ?? (await proof.store()), name, wish)),
    );
    return names.filter((_, index) => answers[index]?.isGranted);
  };
  const [first] = stores;
  const placed = await openAll({ places: [place] });
  proof.expect('leases with one of 10 places', placed.length, 10);
  await proof.expectState('places', first, place, 10);
  await Promise.all(placed.map((name, index) => proof.settle(stores[index % 4] ?? first, name)));
  await proof.expectState('places after all were settled', first, place, 0);
  names.splice(0, names.length, ...names.map(() => proof.name()));
  const reserving = await openAll({ budgets: [proof.claim(budget, 0, 90, 70)] });
  // Eleven get 90, and then 10 are left.
  proof.expect('leases with 90 of 1000', reserving.length, 11);
  await proof.expectState('budget', first, budget, 0, 990);
  await Promise.all(
    reserving.map((name, index) =>
      proof.extend(stores[(index + 1) % 4] ?? first, name, [proof.claim(budget, 80, 15, 0)]),
    ),
  );
  const state = await proof.state(first, budget);
  proof.expect('spent by all', state.used, 880);
  proof.expectBetween('spent and reserved', state.used + state.reserved, 880, 1000);
}

/** Opens, extends, settles and asks again, and compares with what has to come of it. */
export async function randomCalls(proof: LimitProof, steps: number): Promise<void> {
  const stores = [await proof.store(), await proof.store(), await proof.store()];
  const [first] = stores;
  if (first === undefined) return;
  const budgets = [proof.budget('b1', 3000), proof.budget('b2', 700)];
  const place = proof.places('p', 6);
  const live = new Map<string, { spent: number[]; reserved: number[] }>();
  const settled: { readonly name: string; readonly claims: readonly BudgetClaim[] }[] = [];
  const total = [0, 0];
  const claimsOf = (spent: readonly number[]): BudgetClaim[] =>
    budgets.map((quota, index) => {
      const want = proof.below(150);
      return proof.claim(quota, spent[index] ?? 0, want, proof.below(want + 1));
    });
  const expectStates = async (what: string): Promise<void> => {
    await proof.expectState(what, first, place, live.size);
    for (const [index, quota] of budgets.entries()) {
      const reserved = [...live.values()].reduce((sum, lease) => sum + (lease.reserved[index] ?? 0), 0);
      await proof.expectState(what, first, quota, total[index] ?? 0, reserved);
    }
  };
  for (let step = 0; step < steps; step += 1) {
    const store = proof.pick(stores) ?? first;
    const name = proof.pick([...live.keys()]);
    const lease = name === undefined ? undefined : live.get(name);
    const action = proof.below(10);
    if (name === undefined || lease === undefined || action < 4) {
      const newName = proof.name();
      const wish = { places: [place], budgets: claimsOf([0, 0]) };
      const answer = await proof.open(store, newName, wish);
      const again = await proof.open(proof.pick(stores) ?? first, newName, wish);
      if (answer.isGranted) {
        live.set(newName, { spent: [0, 0], reserved: [...answer.reserved] });
        proof.expect('an open that is asked again', again.isGranted && again.reserved, answer.reserved);
      } else proof.expect('a refused open that is asked again', again.isGranted, false);
    } else {
      // Mostly within the slice, and sometimes beyond it.
      const spent = lease.spent.map(
        (before, index) =>
          before + (proof.below(10) === 0 ? 50 : proof.below((lease.reserved[index] ?? 0) + 1)),
      );
      for (const [index, before] of lease.spent.entries())
        total[index] = (total[index] ?? 0) + (spent[index] ?? 0) - before;
      const claims = claimsOf(spent);
      if (action < 8) {
        const answer = await proof.extend(store, name, claims);
        const kept = lease.reserved.map((reserved, index) =>
          Math.max(0, reserved + (lease.spent[index] ?? 0) - (spent[index] ?? 0)),
        );
        live.set(name, { spent, reserved: answer.isGranted ? [...answer.reserved] : kept });
      } else {
        await proof.settle(store, name, claims);
        live.delete(name);
        settled.push({ name, claims });
      }
      const old = proof.pick(settled);
      if (old !== undefined) await proof.settle(store, old.name, old.claims);
    }
    await expectStates(`step ${step}`);
  }
  for (const [name, { spent }] of live) await proof.settle(first, name, claimsOf(spent));
  live.clear();
  await expectStates('in the end');
}

export async function minutes(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const quota = { kind: 'budget', key: 'minute', limit: 100, window: 'minute' } as const;
  await proof.pass(60_000 - ((await proof.dateMs()) % 60_000));
  await proof.open(store, 'a', { budgets: [proof.claim(quota, 60, 30)] });
  const { resetMs } = await proof.state(store, quota);
  proof.expectBetween('resetMs at the beginning of a minute', resetMs, 60_000 - slackMs, 60_000);
  const { retryAfterMs } = await proof.expectRefused(
    'beyond the minute',
    proof.open(store, 'b', { budgets: [proof.claim(quota, 0, 70)] }),
    quota,
  );
  proof.expectBetween('retryAfterMs of a minute', retryAfterMs, 60_000 - slackMs, 60_000);
  const { retryAfterMs: never } = await proof.expectRefused(
    'what the next minute has no room for either',
    proof.open(store, 'c', { budgets: [proof.claim(quota, 0, 80)] }),
    quota,
  );
  proof.expect('retryAfterMs where others have to give back', never, undefined);
  await proof.renew(store, ['a'], 3_600_000);
  await proof.pass(retryAfterMs ?? 0);
  await proof.expectState('in the next minute', store, quota, 0, 30);
  await proof.expectGranted(
    'after retryAfterMs',
    proof.open(store, 'd', { budgets: [proof.claim(quota, 0, 70)] }),
    70,
  );
  // What is spent from now on is spent in this minute, and only that.
  await proof.settle(store, 'a', [proof.claim(quota, 85, 0)]);
  await proof.expectState('what is spent now', store, quota, 25, 70);
}

export async function daysAndMonths(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  for (const window of ['day', 'month'] as const) {
    // A second after it began.
    const nowMs = await proof.dateMs();
    await proof.pass(calendarBounds(window, nowMs)[1] + 1000 - nowMs);
    const thenMs = await proof.dateMs();
    const leftMs = calendarBounds(window, thenMs)[1] - thenMs;
    const quota = { kind: 'budget', key: window, limit: 100, window } as const;
    const spend = async (spent: number): Promise<void> => {
      await proof.settle(store, proof.name(), [proof.claim(quota, spent, 0)]);
    };
    await spend(60);
    await spend(30);
    await proof.expectState(`in a ${window}`, store, quota, 90);
    const { resetMs } = await proof.state(store, quota);
    proof.expectBetween(`resetMs of a ${window}`, resetMs, leftMs - slackMs, leftMs);
    await proof.pass(Math.max(0, (resetMs ?? 0) - slackMs));
    await proof.expectState(`at the end of a ${window}`, store, quota, 90);
    await proof.pass(slackMs);
    await proof.expectState(`in the next ${window}`, store, quota, 0);
    await spend(5);
    await proof.expectState(`of the next ${window}`, store, quota, 5);
  }
}

export async function idleBudgets(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const quota = { kind: 'budget', key: 'session', limit: 100, window: { idleMs: 2000 } } as const;
  await proof.open(store, 'a', { budgets: [proof.claim(quota, 0, 10)] });
  for (const spent of [10, 20, 30]) {
    await proof.pass(1000);
    await proof.extend(store, 'a', [proof.claim(quota, spent, 10)]);
    await proof.expectState('while it is used', store, quota, spent, 10);
  }
  await proof.settle(store, 'a', [proof.claim(quota, 40, 0)]);
  const { resetMs } = await proof.state(store, quota);
  proof.expectBetween('resetMs', resetMs, 1, 2000);
  await proof.expectState('just after it was used', store, quota, 40);
  await proof.pass(2100);
  await proof.expectState('when nobody uses it', store, quota, 0);
}
