import { expect, test } from 'vitest';
import { createMemoryLimitStore } from '../src/limit/memory-limit-store.ts';
import { limitRules } from '../src/testing/limit-rules.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { BookEngine, RemoteEngine, type LimitDefects } from './support/limit-engine.ts';

for (const { number, name, check } of limitRules(() => new BookEngine())) {
  test(`limit rule ${number}: ${name}`, check);
}

const farAway = limitRules(() => new RemoteEngine(), { seed: 2 });
for (const { number, name, check } of farAway) test(`limit rule ${number}, far away: ${name}`, check);

const defects: readonly (readonly [rule: number, defects: LimitDefects])[] = [
  [1, { takesBeforeItLooks: true }],
  [2, { readsThenWrites: true }],
  [3, { forgetsNames: true }],
  [4, { countsGrantsOnly: true }],
  [5, { addsEachTime: true }],
  [6, { dropsTheLate: true }],
  [7, { settlesTwice: true }],
  [7, { takesNothingBack: true }],
  [8, { neverExpires: true }],
  [9, { isTireless: true }],
  [10, { sulks: true }],
  [10, { isPatient: true }],
  [11, { isDeaf: true }],
  [12, { keepsAll: true }],
  [13, { tellsTheStatesBefore: true }],
  [14, { rounds: true }],
  [15, { reopens: true }],
];

test.each(defects)('the checks of limit rule %i notice a store that breaks it: %o', async (rule, defect) => {
  const broken = new Set<number>();
  for (const { number, check } of limitRules(() => new RemoteEngine(defect), { deadlineMs: 500 }))
    await check().catch(() => broken.add(number));
  expect([...broken]).toContain(rule);
});

test('an option that is out of range is refused', () => {
  const wrong = { code: 'invalid_option' };
  expect(() => createMemoryLimitStore({ clock: new VirtualClock(), maxQuotas: 99 })).toThrow(
    expect.objectContaining(wrong),
  );
});

test('what is saved is what was spent, and counts as long as its window', async () => {
  const clock = new VirtualClock({ startDateMs: Date.UTC(2026, 4, 5, 12) });
  const { signal } = new AbortController();
  const store = createMemoryLimitStore({ clock });
  const quotas = (['minute', 'day', 'month', { idleMs: 600_000 }] as const).map(
    (window, index) => ({ kind: 'budget', key: `b${index}`, limit: 100, window }) as const,
  );
  const budgets = quotas.map((quota) => ({ quota, spent: 10, want: 20, atLeast: 0 }));
  expect([store.changes, store.saved()]).toEqual([0, []]);
  await store.open({ lease: 'a', leaseMs: 60_000, rates: [], places: [], budgets }, signal);
  expect(store.changes).toBe(4);
  await store.settle('b', budgets.slice(1, 2), signal);
  expect(store.changes).toBe(5);
  const saved = store.saved();
  expect(JSON.parse(JSON.stringify(saved))).toEqual(saved);
  const usedAt = async (dateMs: number): Promise<number[]> => {
    const later = createMemoryLimitStore({ clock: new VirtualClock({ startDateMs: dateMs }), saved });
    const states = await later.read(quotas, signal);
    expect(states.map(({ reserved }) => reserved)).toEqual([0, 0, 0, 0]);
    return states.map(({ used }) => used);
  };
  expect(await usedAt(Date.UTC(2026, 4, 5, 12, 0, 59))).toEqual([10, 20, 10, 10]);
  expect(await usedAt(Date.UTC(2026, 4, 5, 12, 5))).toEqual([0, 20, 10, 10]);
  expect(await usedAt(Date.UTC(2026, 4, 5, 23, 59))).toEqual([0, 20, 10, 0]);
  expect(await usedAt(Date.UTC(2026, 4, 31))).toEqual([0, 0, 10, 0]);
  expect(await usedAt(Date.UTC(2026, 5))).toEqual([0, 0, 0, 0]);
  await clock.advance(60_000);
  expect(store.saved()).toHaveLength(3);
});

test('a date that goes back a little begins no window again, and one that goes back far does', async () => {
  const clock = new VirtualClock();
  let dateMs = Date.UTC(2026, 4, 5, 0, 0, 1);
  const { signal } = new AbortController();
  const store = createMemoryLimitStore({ clock: { nowMs: () => clock.nowMs(), dateMs: () => dateMs } });
  const quota = { kind: 'budget', key: 'b', limit: 100, window: 'day' } as const;
  await store.settle('a', [{ quota, spent: 10, want: 0, atLeast: 0 }], signal);
  const used = async (): Promise<number | undefined> => (await store.read([quota], signal))[0]?.used;
  dateMs -= 5000;
  expect(await used()).toBe(10);
  await store.settle('b', [{ quota, spent: 10, want: 0, atLeast: 0 }], signal);
  dateMs += 5000;
  expect(await used()).toBe(20);
  dateMs -= 2 * 86_400_000;
  expect(await used()).toBe(0);
});

test('what is kept is bounded: what is used least goes first, and what is reserved never', async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  const store = createMemoryLimitStore({ clock, maxQuotas: 100 });
  const budget = (index: number) =>
    ({ kind: 'budget', key: `b${index}`, limit: 1000, window: 'month' }) as const;
  const rate = (index: number) => ({ kind: 'rate', key: `r${index}`, perSecond: 0.001, burst: 9 }) as const;
  const open = (index: number, want: number) =>
    store.open(
      {
        lease: `lease-${index}`,
        leaseMs: 3_600_000,
        rates: [rate(index)],
        places: [],
        budgets: [{ quota: budget(index), spent: 0, want, atLeast: want }],
      },
      signal,
    );
  // The first reserves and spends little, the second has spent much.
  await open(0, 1);
  await store.settle('much', [{ quota: budget(1), spent: 900, want: 0, atLeast: 0 }], signal);
  for (let index = 2; index < 1000; index += 1) {
    await open(index, 10);
    const claim = { quota: budget(index), spent: 10 + (index % 7), want: 0, atLeast: 0 };
    await store.settle(`lease-${index}`, [claim], signal);
  }
  const states = await store.read(
    Array.from({ length: 1000 }, (_, index) => budget(index)),
    signal,
  );
  expect(states[0]).toMatchObject({ used: 0, reserved: 1 });
  expect(states[1]).toMatchObject({ used: 900 });
  const kept = states.filter(({ reserved, used }) => used + reserved > 0).length;
  expect(kept).toBeGreaterThan(80);
  expect(kept).toBeLessThanOrEqual(100);
  const buckets = await store.read(
    Array.from({ length: 1000 }, (_, index) => rate(index)),
    signal,
  );
  expect(buckets.filter(({ used }) => used > 0).length).toBeLessThanOrEqual(100);
});

test('of leases that are gone the latest are remembered', async () => {
  const engine = new BookEngine();
  for (let index = 0; index < 50_000; index += 1) engine.book.settle(`lease-${index}`, []);
  expect(engine.book.size).toBeGreaterThan(10_000);
  expect(engine.book.size).toBeLessThanOrEqual(20_000);
});
