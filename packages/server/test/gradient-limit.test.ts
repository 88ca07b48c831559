import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { Admission } from '../src/admission/admission.ts';
import { GradientLimit } from '../src/admission/gradient-limit.ts';
import { VirtualProvider } from './support/virtual-provider.ts';

const { signal } = new AbortController();

interface Run {
  readonly admission: Admission;
  readonly limit: GradientLimit;
  readonly provider: VirtualProvider;
  /** Lets so much time pass, and returns the limit four times a second. */
  readonly during: (seconds: number) => Promise<readonly number[]>;
}

/** A provider of which always more is wanted than the limit allows, but for `most` streams. */
function run(
  capacity: number,
  { answerMs = 5000, max = 1000, min = 1, most = Infinity, seed = 1 } = {},
): Run {
  const clock = new VirtualClock({ seed });
  const provider = new VirtualProvider(clock, capacity);
  provider.answerMs = answerMs;
  const limit = new GradientLimit({ clock, min, max });
  const admission = new Admission({ clock, limit, maxWaiting: 3 });
  const ask = async (): Promise<void> => {
    const place = admission.enter({ signal });
    await place.given;
    fill();
    await provider.stream((ttftMs) => {
      if (ttftMs === undefined) place.failed();
      else place.answered(ttftMs);
    });
    place.release();
    fill();
  };
  const fill = (): void => {
    while (admission.waiting < 3 && admission.taken + admission.waiting < most) void ask();
  };
  fill();
  return {
    admission,
    limit,
    provider,
    during: async (seconds) => {
      const limits: number[] = [];
      for (let quarter = 0; quarter < 4 * seconds; quarter += 1) {
        await clock.advance(250);
        limits.push(limit.current);
      }
      return limits;
    },
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The seconds after which the limit, and its mean of the next 20 seconds, is within a quarter of what fits; `undefined`: never. */
function foundAfterS(limits: readonly number[], capacity: number): number | undefined {
  const fits = (limit: number): boolean => Math.abs(limit - capacity) <= capacity / 4;
  const at = limits.findIndex((limit, index) => {
    const next = limits.slice(index, index + 80);
    return next.length === 80 && fits(limit) && fits(meanOf(next));
  });
  return at === -1 ? undefined : at / 4;
}

test.each([1, 2, 3, 4])(
  'the limit finds a provider that grows, shrinks, is gone and comes back (seed %i)',
  async (seed) => {
    const { during, limit, provider } = run(40, { seed });
    const finds = async (what: string, capacity: number, withinS: number): Promise<void> => {
      provider.capacity = capacity;
      const limits = await during(120);
      expect(foundAfterS(limits, capacity), what).toBeLessThanOrEqual(withinS);
      const late = meanOf(limits.slice(-240));
      expect(Math.abs(late - capacity) / capacity, `${what}: ${late} for ${capacity}`).toBeLessThanOrEqual(
        0.25,
      );
    };
    await finds('at the beginning', 40, 60);
    await finds('doubled', 80, 60);
    await finds('halved', 40, 60);
    provider.isGone = true;
    const gone = await during(30);
    expect(gone.findIndex((current) => current === 1) / 4).toBeLessThan(25);
    provider.isGone = false;
    await finds('back', 40, 60);
    expect(limit.bestMs).toBeGreaterThan(300);
    expect(limit.bestMs).toBeLessThan(500);
  },
);

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'promise 17: answers of 20 s do not keep the limit from finding what fits, nor from coming back (seed %i)',
  async (seed) => {
    const { during, provider } = run(40, { answerMs: 20_000, most: 40, seed });
    await during(15);
    expect(provider.running).toBeGreaterThanOrEqual(36);
    await during(60);
    provider.isGone = true;
    await during(7);
    provider.isGone = false;
    await during(10);
    expect(provider.running).toBeGreaterThanOrEqual(36);
  },
);

test('a provider that is slower for good gets what fits again, and one that is quick again too', async () => {
  const { during, limit, provider } = run(40);
  await during(120);
  provider.slowness = 2;
  const slower = await during(180);
  expect(meanOf(slower.slice(-240)) / 40).toBeGreaterThan(0.7);
  expect(limit.bestMs).toBeGreaterThan(600);
  provider.slowness = 1;
  const quick = await during(120);
  expect(Math.abs(meanOf(quick.slice(-240)) - 40)).toBeLessThanOrEqual(10);
  expect(limit.bestMs).toBeLessThan(500);
});

test('the limit does not grow while fewer places are taken, and stays between its bounds', async () => {
  const unused = run(1000, { most: 7 });
  expect(Math.max(...(await unused.during(120)))).toBe(10);
  const used = run(1000, { max: 30 });
  expect((await used.during(120)).at(-1)).toBe(30);
  const least = run(2, { min: 8 });
  least.provider.isGone = true;
  expect((await least.during(10)).at(-1)).toBe(8);
});

test('one failure among many answers is none for load, and more make the limit fall once a second', () => {
  const clock = { at: 0, nowMs: () => clock.at };
  const limit = new GradientLimit({ clock, min: 1, max: 100 });
  for (let count = 0; count < 20; count += 1) limit.sample(0, 1);
  limit.failed(0);
  expect(limit.current).toBe(10);
  for (let count = 0; count < 50; count += 1) limit.failed(0);
  expect(limit.current).toBe(7);
  clock.at = 999;
  limit.failed(0);
  expect(limit.current).toBe(7);
  clock.at = 1000;
  limit.failed(0);
  expect(limit.current).toBe(4);
});

test('what was asked for before the limit fell, and fails later, does not make it fall again', () => {
  const clock = { at: 30_000, nowMs: () => clock.at };
  const limit = new GradientLimit({ clock, min: 1, max: 100 });
  // Each was asked for at a time of its own in the ten seconds before, and is too late after thirty.
  for (let second = 0; second < 10; second += 1) {
    clock.at = 30_000 + 1000 * second;
    limit.failed(30_000);
  }
  expect(limit.current).toBe(7);
  clock.at = 60_001;
  limit.failed(30_000);
  expect(limit.current).toBe(4);
});
