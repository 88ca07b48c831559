import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BudgetClaim, BudgetQuota, LimitStore } from '../src/index.ts';
import { LimitBook } from '../src/limit/limit-book.ts';
import { BookStore } from '../src/limit/book-store.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { checkProperty } from './support/property.ts';

const budgets: readonly BudgetQuota[] = [
  { kind: 'budget', key: 'minute', limit: 300, window: 'minute' },
  { kind: 'budget', key: 'day', limit: 1000, window: 'day' },
  { kind: 'budget', key: 'session', limit: 500, window: { idleMs: 90_000 } },
];
const place = { kind: 'places', key: 'streams', limit: 4 } as const;
const rate = { kind: 'rate', key: 'requests', perSecond: 0.5, burst: 5 } as const;
const startDateMs = Date.UTC(2026, 0, 1, 23, 57, 45);
const { signal } = new AbortController();

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom('open' as const, 'extend' as const, 'settle' as const),
      /** A few names, so that they come again: late, twice, and after their lease is gone. */
      lease: fc.nat(7),
      store: fc.nat(2),
      /** More of each budget than was told before; negative: an old call that comes late. */
      spends: fc.tuple(fc.integer({ min: -30, max: 60 }), fc.nat(60), fc.nat(60)),
      want: fc.nat(150),
      atLeast: fc.nat(150),
      leaseMs: fc.constantFrom(1000, 60_000, 3_600_000),
      times: fc.constantFrom(1, 1, 2, 3),
    }),
    fc.record({ kind: fc.constant('renew' as const), lease: fc.nat(7), store: fc.nat(2) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 400, 2000, 30_000, 70_000) }),
  ),
  { maxLength: 60 },
);

/** What the steps say that was spent and is reserved, from their answers alone. */
interface Told {
  readonly spent: number[];
  readonly reserved: number[];
  /** What of `spent` was told in the window that lasts until `endMs`. */
  readonly inWindow: { told: number; endMs: number }[];
  isOpen: boolean;
  isSettled: boolean;
  hasPlace: boolean;
  expiresMs: number;
}

interface Window {
  endMs: number;
  used: number;
}

class Model {
  readonly leases = new Map<number, Told>();
  readonly windows: Window[] = budgets.map(() => ({ endMs: 0, used: 0 }));
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  lease(index: number): Told {
    const there = this.leases.get(index);
    if (there !== undefined) return there;
    const none = () => budgets.map(() => 0);
    const told = {
      spent: none(),
      reserved: none(),
      inWindow: budgets.map(() => ({ told: 0, endMs: 0 })),
      isOpen: false,
      isSettled: false,
      hasPlace: false,
      expiresMs: 0,
    };
    this.leases.set(index, told);
    return told;
  }

  end(told: Told): void {
    told.isOpen = false;
    told.hasPlace = false;
    told.reserved.fill(0);
  }

  /** Lets windows and leases end. */
  look(): void {
    for (const told of this.leases.values())
      if (told.isOpen && this.#clock.nowMs() >= told.expiresMs) this.end(told);
    for (const window of this.windows) if (this.#clock.dateMs() >= window.endMs) window.used = 0;
  }

  use(index: number, spent: number, isReserved: boolean): void {
    const window = this.windows[index];
    const quota = budgets[index];
    if (window === undefined || quota === undefined || (spent === 0 && !isReserved)) return;
    window.used += spent;
    const dateMs = this.#clock.dateMs();
    if (typeof quota.window === 'object') window.endMs = dateMs + quota.window.idleMs;
    else {
      const lengthMs = quota.window === 'minute' ? 60_000 : 86_400_000;
      window.endMs = (Math.floor(dateMs / lengthMs) + 1) * lengthMs;
    }
  }

  tell(told: Told, claims: readonly BudgetClaim[]): void {
    for (const [index, { spent }] of claims.entries()) {
      const before = told.spent[index] ?? 0;
      told.spent[index] = Math.max(before, spent);
      told.reserved[index] = 0;
      const more = Math.max(0, spent - before);
      this.use(index, more, false);
      const last = told.inWindow[index];
      if (more === 0 || last === undefined) continue;
      last.told = more + (this.#clock.dateMs() < last.endMs ? last.told : 0);
      last.endMs = this.windows[index]?.endMs ?? 0;
    }
  }

  /** What the end says is what was spent. */
  takeBack(told: Told, claims: readonly BudgetClaim[]): void {
    for (const [index, { spent }] of claims.entries()) {
      const last = told.inWindow[index];
      const window = this.windows[index];
      if (last === undefined || window === undefined || this.#clock.dateMs() >= last.endMs) continue;
      window.used -= Math.min(last.told, Math.max(0, (told.spent[index] ?? 0) - spent));
    }
  }

  /** A slice is refused: what was granted before may be used until the lease ends. */
  keep(told: Told, granted: readonly number[]): void {
    const kept = granted.map((most, index) => Math.max(0, most - (told.spent[index] ?? 0)));
    this.reserve(told, kept);
  }

  reserve(told: Told, reserved: readonly number[]): void {
    for (const [index, slice] of reserved.entries()) {
      told.reserved[index] = slice;
      this.use(index, 0, slice > 0);
    }
  }

  reservedOf(index: number): number {
    return [...this.leases.values()].reduce((sum, { reserved }) => sum + (reserved[index] ?? 0), 0);
  }
}

/** Compares what the store says with the model, and with the rules that hold always. */
async function expectAlike(store: LimitStore, model: Model): Promise<void> {
  model.look();
  const [placed, ...states] = await store.read([place, ...budgets], signal);
  const places = [...model.leases.values()].filter(({ hasPlace }) => hasPlace).length;
  expect(placed?.used).toBe(places);
  expect(places).toBeLessThanOrEqual(place.limit);
  for (const [index, state] of states.entries()) {
    expect(state.used).toBe(model.windows[index]?.used);
    expect(state.reserved).toBe(model.reservedOf(index));
    expect(state.reserved).toBeGreaterThanOrEqual(0);
  }
}

test('promise 16: in any order of calls, expiries and windows, what is reserved and spent stays within the limit', async () => {
  await checkProperty(
    'limits in memory: within the limit',
    fc.asyncProperty(steps, async (run) => {
      const clock = new VirtualClock({ startDateMs });
      const book = new LimitBook(clock, 100_000, []);
      const stores = [new BookStore(book), new BookStore(book), new BookStore(book)];
      const [first] = stores;
      if (first === undefined) return;
      const model = new Model(clock);
      let requests = 0;
      for (const step of run) {
        if (step.kind === 'pass') {
          await clock.advance(step.ms);
          await expectAlike(first, model);
          continue;
        }
        const store = stores[step.store] ?? first;
        const lease = `lease-${step.lease}`;
        model.look();
        const told = model.lease(step.lease);
        if (step.kind === 'renew') {
          await store.renew([lease], 60_000, signal);
          if (told.isOpen) told.expiresMs = clock.nowMs() + 60_000;
          await expectAlike(first, model);
          continue;
        }
        const { leaseMs, spends, want } = step;
        const atLeast = Math.min(step.atLeast, want);
        const claims = budgets.map((quota, index) => ({
          quota,
          spent: Math.max(0, (told.spent[index] ?? 0) + (spends[index] ?? 0)),
          want,
          atLeast,
        }));
        const left = (index: number): number =>
          (budgets[index]?.limit ?? 0) - (model.windows[index]?.used ?? 0) - model.reservedOf(index);
        if (step.kind === 'open') {
          const places = [place];
          const answer = await store.open({ lease, leaseMs, rates: [rate], places, budgets: claims }, signal);
          if (told.isOpen || told.isSettled) expect(answer.isGranted).toBe(true);
          else if (answer.isGranted) {
            requests += 1;
            model.tell(told, claims);
            for (const [index, slice] of answer.reserved.entries()) {
              expect(slice).toBeGreaterThanOrEqual(atLeast);
              expect(slice).toBe(Math.min(want, Math.max(0, left(index))));
            }
            model.reserve(told, answer.reserved);
            Object.assign(told, {
              isOpen: true,
              hasPlace: true,
              expiresMs: clock.nowMs() + leaseMs,
            });
          }
          if (told.isOpen)
            for (let time = 1; time < step.times; time += 1)
              expect(
                (await store.open({ lease, leaseMs, rates: [rate], places, budgets: claims }, signal))
                  .isGranted,
              ).toBe(true);
        }
        if (step.kind === 'extend')
          for (let time = 0; time < step.times; time += 1) {
            const answer = await store.extend(lease, leaseMs, claims, signal);
            if (told.isSettled) {
              expect(answer.isGranted).toBe(atLeast === 0);
              continue;
            }
            const granted = told.reserved.map((slice, index) => slice + (told.spent[index] ?? 0));
            model.tell(told, claims);
            Object.assign(told, { isOpen: true, expiresMs: clock.nowMs() + leaseMs });
            const slices = budgets.map((_, index) => Math.min(want, Math.max(0, left(index))));
            const isEnough = slices.every((slice) => slice >= atLeast);
            expect(answer.isGranted).toBe(isEnough);
            if (!answer.isGranted) {
              model.keep(told, granted);
              continue;
            }
            expect(answer.reserved).toEqual(slices);
            model.reserve(told, answer.reserved);
          }
        if (step.kind === 'settle')
          for (let time = 0; time < step.times; time += 1) {
            await store.settle(lease, claims, signal);
            if (told.isSettled) continue;
            model.tell(told, claims);
            model.takeBack(told, claims);
            model.end(told);
            told.isSettled = true;
          }
        await expectAlike(first, model);
        // The burst, and what came back since.
        expect(requests).toBeLessThanOrEqual(5 + clock.nowMs() / 2000);
      }
      // Nothing stays of whoever falls silent, and of quotas that nobody uses.
      await clock.advance(2 * 86_400_000);
      await first.read(budgets, signal);
      await clock.advance(2 * 3_600_000);
      await first.read(budgets, signal);
      expect(book.size).toBe(0);
    }),
    300,
  );
});
