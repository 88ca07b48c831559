import type { BudgetClaim, LimitAnswer, LimitStore, Quota } from '../limit/limit-store.ts';
import type { LimitProof } from './limit-proof.ts';

/** How long a call may be on its way. */
const slackMs = 2000;

export async function openedAgain(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const rate = proof.rate('requests', 0.001, 10);
  const place = proof.places('streams', 10);
  const budget = proof.budget('tokens', 100);
  const wish = { rates: [rate], places: [place], budgets: [proof.claim(budget, 5, 80, 10)] };
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, index) => proof.open(index % 2 ? store : other, 'a', wish)),
  );
  answers.push(await proof.open(store, 'a', wish), await proof.open(await proof.store(), 'a', wish));
  for (const answer of answers)
    proof.expect('the answer of each call', answer.isGranted && answer.reserved, [80]);
  await proof.expectState('taken once', store, rate, 1);
  await proof.expectState('taken once', store, place, 1);
  await proof.expectState('taken once', store, budget, 5, 80);
  await proof.settle(store, 'a', [proof.claim(budget, 5, 0)]);
  await proof.expectState('and given back once', store, place, 0);
  await proof.expectState('and given back once', store, budget, 5);
}

export async function toldStates(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const rates = [proof.rate('requests', 0.001, 10), proof.rate('more requests', 0.002, 5)];
  const places = [proof.places('streams', 10)];
  const budgets = [proof.budget('tokens', 1000), proof.budget('money', 500)];
  const claimsOf = (spent: number, want: number): BudgetClaim[] =>
    budgets.map((quota, index) => proof.claim(quota, spent, want + index));
  const expectTold = async (what: string, quotas: readonly Quota[], answer: LimitAnswer): Promise<void> => {
    const states = answer.isGranted ? answer.states : [];
    proof.expect(`${what}: the states that are told`, states.length, quotas.length);
    for (const [index, quota] of quotas.entries()) {
      const { reserved, resetMs = 0, used } = await proof.state(other, quota);
      const told = states[index];
      proof.expect(`${what}: used and reserved of ${quota.key}`, told && [told.used, told.reserved], [
        used,
        reserved,
      ]);
      proof.expectBetween(`${what}: resetMs of ${quota.key}`, told?.resetMs, resetMs, resetMs + slackMs);
    }
  };
  await proof.open(other, 'before', { rates, places, budgets: claimsOf(5, 30) });
  const wish = { rates, places, budgets: claimsOf(10, 40) };
  await expectTold('a grant', [...rates, ...budgets], await proof.open(store, 'a', wish));
  await proof.open(other, 'between', { rates, budgets: claimsOf(1, 2) });
  await expectTold('a grant that is told again', [...rates, ...budgets], await proof.open(store, 'a', wish));
  await expectTold('a slice', budgets, await proof.extend(store, 'a', claimsOf(35, 70)));
  await expectTold('no rate and no budget', [], await proof.open(store, 'b', { places }));
}

export async function refusedSlices(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 100);
  const other = proof.budget('money', 1000);
  await proof.open(store, 'a', { budgets: [proof.claim(budget, 0, 100), proof.claim(other, 0, 500)] });
  await proof.expectGranted(
    'the rest of what it had itself',
    proof.extend(store, 'a', [proof.claim(budget, 60, 50, 40), proof.claim(other, 300, 500)]),
    40,
    500,
  );
  await proof.expectState('after it', store, budget, 60, 40);
  await proof.expectState('after it', store, other, 300, 500);
  const { state } = await proof.expectRefused(
    'a slice that is not there',
    proof.extend(store, 'a', [proof.claim(budget, 90, 50, 20), proof.claim(other, 400, 500)]),
    budget,
  );
  proof.expect('what the refusal says', [state.used, state.reserved], [90, 0]);
  for (const what of ['what it had reserved stays its own', 'and when it asks again']) {
    await proof.expectState(what, store, budget, 90, 10);
    await proof.expectState(`${what}, of the other too`, store, other, 400, 400);
    await proof.expectRefused(
      'what the lease may be using',
      proof.open(store, proof.name(), { budgets: [proof.claim(budget, 0, 1)] }),
      budget,
    );
    await proof.expectRefused(
      'the same slice',
      proof.extend(store, 'a', [proof.claim(budget, 90, 50, 20), proof.claim(other, 400, 500)]),
      budget,
    );
  }
  await proof.settle(store, 'a', [proof.claim(budget, 95, 0), proof.claim(other, 450, 0)]);
  await proof.expectState('in the end', store, budget, 95);
  await proof.expectState('in the end', store, other, 450);
}

export async function overshoot(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 100);
  await proof.open(store, 'a', { budgets: [proof.claim(budget, 0, 50)] });
  await proof.open(store, 'b', { budgets: [proof.claim(budget, 0, 20)] });
  await proof.expectRefused(
    'beyond the limit',
    proof.extend(store, 'a', [proof.claim(budget, 95, 10, 1)]),
    budget,
  );
  await proof.expectState('what was spent and what others have', store, budget, 95, 20);
  await proof.settle(store, 'a', [proof.claim(budget, 130, 0)]);
  await proof.expectState('what was spent', store, budget, 130, 20);
  await proof.expectGranted(
    'who wants nothing more',
    proof.extend(store, 'b', [proof.claim(budget, 20, 0)]),
    0,
  );
  await proof.expectState('in the end', store, budget, 150);
}

export async function toldTwice(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 1000);
  await proof.open(store, 'a', { budgets: [proof.claim(budget, 10, 100)] });
  const claims = [proof.claim(budget, 70, 200)];
  for (const each of [store, other, store])
    await proof.expectGranted('the same numbers', proof.extend(each, 'a', claims), 200);
  await Promise.all(Array.from({ length: 10 }, () => proof.extend(other, 'a', claims)));
  await proof.expectState('counted once', store, budget, 70, 200);
  // A call that comes late has smaller numbers.
  await proof.extend(store, 'a', [proof.claim(budget, 40, 200)]);
  await proof.expectState('after a late call', store, budget, 70, 200);
  await proof.settle(store, 'a', [proof.claim(budget, 70, 0)]);
  await proof.expectState('in the end', store, budget, 70);
}

export async function extendedLate(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 1000);
  const place = proof.places('streams', 1);
  await proof.open(store, 'a', { leaseMs: 1000, places: [place], budgets: [proof.claim(budget, 0, 100)] });
  await proof.extend(store, 'a', [proof.claim(budget, 30, 100)], 1000);
  await untilGone(proof, store, [place, budget]);
  await proof.expectState('a lease that is gone', store, budget, 30);
  await proof.expectGranted(
    'one that is gone',
    proof.extend(store, 'a', [proof.claim(budget, 80, 100)]),
    100,
  );
  await proof.expectState('what it spent', store, budget, 80, 100);
  await proof.expectState('its places', store, place, 0);
  await proof.expectGranted(
    'one that was never there',
    proof.extend(store, 'b', [proof.claim(budget, 20, 50)]),
    50,
  );
  await proof.expectState('what it spent', store, budget, 100, 150);
  await proof.settle(store, 'a', [proof.claim(budget, 90, 0)]);
  await proof.settle(store, 'b', [proof.claim(budget, 20, 0)]);
  await proof.expectState('in the end', store, budget, 110);
}

export async function settledTwice(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 1000);
  const place = proof.places('streams', 5);
  const wish = { places: [place], budgets: [proof.claim(budget, 0, 100)] };
  await proof.open(store, 'a', wish);
  await proof.open(store, 'b', wish);
  const claims = [proof.claim(budget, 60, 0)];
  await Promise.all([store, other, store, other].map((each) => proof.settle(each, 'a', claims)));
  await proof.settle(store, 'a', claims);
  await proof.settle(store, 'a');
  await proof.expectState('settled once', store, place, 1);
  await proof.expectState('settled once', store, budget, 60, 100);
}

export async function settledForLess(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 1000);
  const money = proof.budget('money', 1000);
  await proof.open(store, 'a', { budgets: [proof.claim(budget, 0, 500), proof.claim(money, 0, 10)] });
  await proof.extend(store, 'a', [proof.claim(budget, 100, 400), proof.claim(money, 5, 5)]);
  await proof.extend(other, 'a', [proof.claim(budget, 300, 200), proof.claim(money, 5, 5)]);
  await proof.settle(store, 'b', [proof.claim(budget, 50, 0)]);
  await proof.settle(other, 'a', [proof.claim(budget, 120, 0), proof.claim(money, 9, 0)]);
  await proof.expectState('settled for less than was told', store, budget, 170);
  await proof.expectState('settled for more than was told', store, money, 9);
  await proof.settle(store, 'a', [proof.claim(budget, 20, 0)]);
  await proof.expectState('settled again for less', store, budget, 170);
}

/** What was told in a window that is over is gone with it, and nothing of others is taken back for it. */
export async function settledForLessLater(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const minute = { kind: 'budget', key: 'minute', limit: 1000, window: 'minute' } as const;
  await proof.pass(60_000 - ((await proof.dateMs()) % 60_000));
  await proof.open(store, 'a', { leaseMs: 3_600_000, budgets: [proof.claim(minute, 0, 500)] });
  await proof.extend(store, 'a', [proof.claim(minute, 300, 200)], 3_600_000);
  await proof.pass(60_000);
  await proof.settle(store, 'b', [proof.claim(minute, 50, 0)]);
  await proof.extend(store, 'a', [proof.claim(minute, 310, 200)], 3_600_000);
  await proof.settle(store, 'a', [proof.claim(minute, 200, 0)]);
  await proof.expectState('what others have spent in this minute', store, minute, 50);
}

export async function settledLate(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 1000);
  await proof.open(store, 'a', { leaseMs: 1000, budgets: [proof.claim(budget, 20, 100)] });
  await untilGone(proof, store, [budget]);
  const claims = [proof.claim(budget, 60, 0)];
  await proof.settle(store, 'a', claims);
  await proof.settle(store, 'a', claims);
  await proof.expectState('settled when it was gone', store, budget, 60);
  await proof.settle(store, 'b', claims);
  await proof.settle(store, 'b', claims);
  await proof.expectState('settled and never opened', store, budget, 120);
}

export async function settledForGood(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 1000);
  const full = proof.budget('money', 1000);
  const place = proof.places('streams', 5);
  const wish = { places: [place], budgets: [proof.claim(budget, 0, 100), proof.claim(full, 0, 70)] };
  await proof.open(store, 'a', wish);
  await proof.settle(store, 'a', [proof.claim(budget, 60, 0), proof.claim(full, 30, 0)]);
  // Calls that were on their way when it ended.
  const late = [proof.claim(budget, 90, 100, 0), proof.claim(full, 50, 70, 1)];
  for (const each of [other, store]) {
    const { retryAfterMs, state } = await proof.expectRefused(
      'a slice after the end',
      proof.extend(each, 'a', late),
      full,
    );
    proof.expect('what the refusal says', [state.used, state.reserved, retryAfterMs], [30, 0, undefined]);
    await proof.expectGranted(
      'who needs no slice',
      proof.extend(each, 'a', [proof.claim(budget, 90, 100, 0)]),
      0,
    );
    await proof.expectGranted('the first call, once more', proof.open(each, 'a', wish), 100, 70);
    await proof.renew(each, ['a']);
  }
  await proof.expectState('as it was settled', store, budget, 60);
  await proof.expectState('as it was settled', store, full, 30);
  await proof.expectState('as it was settled', store, place, 0);
  // The end was faster than the beginning.
  await proof.settle(store, 'b', [proof.claim(budget, 5, 0)]);
  await proof.expectGranted('one that was never opened', proof.open(other, 'b', wish), 0, 0);
  await proof.extend(store, 'c', [proof.claim(budget, 5, 20)]);
  await proof.expectGranted('one that was extended alone', proof.open(other, 'c', wish), 0, 0);
  await proof.expectState('after it', store, budget, 70, 20);
  await proof.expectState('after it', store, place, 0);
}

export async function settledAnHourAgo(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 1000);
  const claims = [proof.claim(budget, 60, 0)];
  await proof.open(store, 'a', { budgets: [proof.claim(budget, 0, 100)] });
  await proof.settle(store, 'a', claims);
  // Others come and go meanwhile.
  for (let index = 0; index < 3; index += 1) {
    await proof.pass(1_190_000);
    await proof.settle(store, proof.name(), [proof.claim(budget, 1, 0)]);
  }
  await proof.settle(store, 'a', claims);
  await proof.expectState('settled once', store, budget, 63);
}

export async function silent(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 100);
  const place = proof.places('streams', 3);
  const wish = { leaseMs: 1000, places: [place], budgets: [proof.claim(budget, 0, 20)] };
  for (const name of ['a', 'b', 'c']) await proof.open(store, name, wish);
  await proof.extend(store, 'a', [proof.claim(budget, 15, 20)], 1000);
  await proof.expectState('while they live', other, place, 3);
  await untilGone(proof, other, [place, budget]);
  await proof.expectState('when they are gone', other, place, 0);
  await proof.expectState('when they are gone', other, budget, 15);
  await proof.expectGranted(
    'who comes next',
    proof.open(other, 'd', { places: [place], budgets: [proof.claim(budget, 0, 85)] }),
    85,
  );
  // A lease that is gone is renewed by nobody.
  await proof.renew(store, ['a', 'b', 'e']);
  await proof.expectState('after a renewal that is too late', other, place, 1);
}

export async function renewed(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const budget = proof.budget('tokens', 100);
  const place = proof.places('streams', 10);
  const wish = { leaseMs: 2000, places: [place], budgets: [proof.claim(budget, 0, 10)] };
  for (const name of ['a', 'b', 'c']) await proof.open(store, name, wish);
  for (let round = 0; round < 3; round += 1) {
    await proof.pass(1000);
    await proof.renew(other, ['a'], 2000);
    await proof.extend(store, 'b', [proof.claim(budget, 0, 10)], 2000);
  }
  await proof.state(store, place);
  await proof.pass(1000);
  await proof.expectState('those that were not silent', store, place, 2);
  await proof.expectState('those that were not silent', store, budget, 0, 20);
}

export async function leftBehind(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const other = await proof.store();
  const place = proof.places('streams', 10);
  await proof.open(store, 'a', { leaseMs: 1000, places: [place] });
  await proof.settled('close', store.close());
  await proof.expectState('after the close', other, place, 1);
  await untilGone(proof, other, [place]);
  await proof.expectState('when it is gone', other, place, 0);
}

/** Lets leases of a second go that nobody speaks of. */
async function untilGone(proof: LimitProof, store: LimitStore, quotas: readonly Quota[]): Promise<void> {
  await proof.pass(1100);
  for (const quota of quotas) await proof.state(store, quota);
  await proof.pass(1000);
}
