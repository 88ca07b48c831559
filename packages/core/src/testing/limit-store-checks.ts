import type { LimitProof, Wish } from './limit-proof.ts';

const dayMs = 86_400_000;

export async function closed(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  await proof.open(store, proof.name(), {});
  await proof.settled('two closes at once', Promise.all([store.close(), store.close()]));
  await proof.settled('a close of a closed store', store.close());
  for (const [name, call] of proof.calls(store))
    await proof.expectRejection(`${name} after the close`, 'limits_closed', call());
  const unused = await proof.store();
  await proof.settled('a close of a store that was never used', unused.close());
}

export async function closedWhileWaiting(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  for (const [, call] of proof.calls(store)) await call();
  await proof.hang();
  const waiting = proof
    .calls(store)
    .map(([name, call]) => proof.expectRejection(`${name} that waits`, 'limits_closed', call()));
  await Promise.all([...waiting, proof.settled('close', store.close())]);
}

export async function failures(proof: LimitProof): Promise<void> {
  await throughTrouble(proof, () => proof.fail());
}

export async function silence(proof: LimitProof): Promise<void> {
  await throughTrouble(proof, () => proof.hang());
}

export async function aborted(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const reason = new Error('the check has aborted this call');
  for (const [name, call] of proof.calls(store, AbortSignal.abort(reason)))
    await proof.expectReason(`${name}, aborted beforehand`, reason, call());
  for (const [, call] of proof.calls(store)) await call();
}

export async function abortedWhileWaiting(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  for (const [, call] of proof.calls(store)) await call();
  await proof.hang();
  const controller = new AbortController();
  const reason = new Error('the check has aborted this call');
  const waiting = proof
    .calls(store, controller.signal)
    .map(([name, call]) => proof.expectReason(`${name} that waits`, reason, call()));
  controller.abort(reason);
  await Promise.all(waiting);
  await proof.heal();
  for (const [, call] of proof.calls(store)) await call();
}

export async function outOfRange(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const rate = proof.rate('requests', 0.001, 10);
  const place = proof.places('streams', 10);
  const budget = proof.budget('tokens', 100);
  const claim = proof.claim(budget, 0, 10);
  const whole = { rates: [rate], places: [place], budgets: [claim] };
  const long = 'x'.repeat(257);
  const wishes: readonly (readonly [string, Wish])[] = [
    ['leaseMs too short', { leaseMs: 999 }],
    ['leaseMs too long', { leaseMs: 3_600_001 }],
    ['leaseMs of half a millisecond', { leaseMs: 1000.5 }],
    ['a rate of nothing', { rates: [proof.rate('requests', 0, 10)] }],
    ['half a burst', { rates: [proof.rate('requests', 1, 0.5)] }],
    ['less than no places', { places: [proof.places('streams', -1)] }],
    ['a place twice', { places: [place, place] }],
    ['a name that is too long', { places: [proof.places(long, 1)] }],
    ['half a token', { budgets: [{ ...claim, spent: 0.5 }] }],
    ['no number', { budgets: [{ ...claim, want: Number.NaN }] }],
    ['at least more than it wants', { budgets: [{ ...claim, atLeast: 11 }] }],
    ['half of idleMs', { budgets: [{ ...claim, quota: { ...budget, window: { idleMs: 0.5 } } }] }],
    ['a budget twice', { budgets: [claim, claim] }],
  ];
  for (const [what, part] of wishes)
    await proof.expectRejection(what, 'invalid_option', proof.open(store, 'a', { ...whole, ...part }));
  for (const name of ['', 'x'.repeat(65)])
    await proof.expectRejection('the name of a lease', 'invalid_option', proof.open(store, name, whole));
  const calls = [
    ['extend', () => proof.extend(store, 'a', [claim, claim])],
    ['settle', () => proof.settle(store, '')],
    ['renew', () => proof.renew(store, ['a'], 10)],
    ['read', () => proof.state(store, proof.places(long, 1))],
  ] as const;
  for (const [name, call] of calls) await proof.expectRejection(name, 'invalid_option', call());
  for (const quota of [rate, place, budget]) await proof.expectState('after all of them', store, quota, 0);
}

export async function kept(proof: LimitProof): Promise<void> {
  const store = await proof.store();
  const wish = (index: number): Wish => ({
    rates: [proof.rate(`r${index}`, 1, 5)],
    places: [proof.places(`p${index}`, 5)],
    budgets: [
      proof.claim(proof.budget(`b${index}`, 100), 0, 10),
      proof.claim({ kind: 'budget', key: `m${index}`, limit: 100, window: 'month' }, 0, 10),
    ],
  });
  for (let index = 0; index < 30; index += 1) {
    const name = proof.name();
    const { budgets = [] } = wish(index);
    await proof.open(store, name, wish(index));
    await proof.extend(
      store,
      name,
      budgets.map((claim) => ({ ...claim, spent: index })),
    );
    // A third is settled, a third falls silent, and of a third it is known afterwards what it has spent.
    if (index % 3 !== 1)
      await proof.settle(
        store,
        name,
        budgets.map((claim) => ({ ...claim, spent: 40 })),
      );
  }
  await proof.pass(32 * dayMs);
  const other = proof.budget('another one', 1);
  await proof.state(store, other);
  // From here on those that were silent are gone.
  await proof.pass(dayMs);
  await proof.state(store, other);
  await proof.expectNothingKept();
}

async function throughTrouble(proof: LimitProof, trouble: () => Promise<void>): Promise<void> {
  const store = await proof.store();
  const budget = proof.budget('tokens', 100);
  const claim = proof.claim(budget, 10, 20);
  await proof.open(store, 'a', { budgets: [claim] });
  for (let round = 1; round <= 2; round += 1) {
    await trouble();
    const calls = proof.calls(store);
    await Promise.all(
      calls.map(([name, call]) => proof.expectRejection(`${name} in trouble`, 'limits_failed', call())),
    );
    await proof.expectRejection(
      'extend in trouble',
      'limits_failed',
      proof.extend(store, 'a', [proof.claim(budget, 10 + round, 20)]),
    );
    await proof.heal();
    await proof.extend(store, 'a', [proof.claim(budget, 10 + round, 20)]);
    await proof.expectState('after the trouble', store, budget, 10 + round, 20);
  }
  for (const [, call] of proof.calls(store)) await call();
}
