import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { Admission } from '../src/admission/admission.ts';
import { type ConcurrencyLimit, FixedLimit } from '../src/admission/concurrency-limit.ts';
import { GradientLimit } from '../src/admission/gradient-limit.ts';
import { asGatewayError } from '../src/errors.ts';
import { VirtualProvider } from './support/virtual-provider.ts';

const { signal } = new AbortController();
const capacity = 40;
/** What a stream takes of a place, without load: to the first token, and from there to the last. */
const holdS = 0.43 + 5;
/** A stream is of use if its first token comes so soon. */
const goodMs = 6000;

interface Outcome {
  /** Streams a second with a first token in time. */
  readonly goodput: number;
  /** The part of its requests that got one, of each tenant. */
  readonly served: Readonly<Record<string, number>>;
  /** The part of the refusals that was told later than at once. */
  readonly lateRefusals: number;
}

/**
 * Requests come as a Poisson process, whatever becomes of those before; `load` 1 is what fits. Counts two minutes, behind
 * one for the limit to find itself.
 */
async function load(
  rates: Readonly<Record<string, number>>,
  limitOf: (clock: VirtualClock) => ConcurrencyLimit,
): Promise<Outcome> {
  const clock = new VirtualClock();
  const provider = new VirtualProvider(clock, capacity);
  const limit = limitOf(clock);
  const admission = new Admission({ clock, limit, maxWaiting: 100, waitMs: 5000 });
  const asked: Record<string, number> = {};
  const good: Record<string, number> = {};
  let refused = 0;
  let late = 0;
  const ask = async (tenant: string): Promise<void> => {
    const startedMs = clock.nowMs();
    const isCounted = startedMs >= 60_000 && startedMs < 180_000;
    if (isCounted) asked[tenant] = (asked[tenant] ?? 0) + 1;
    try {
      const place = admission.enter({ signal, tenant });
      await place.given;
      await provider.stream((ttftMs = 0) => {
        place.answered(ttftMs);
        const isInTime = clock.nowMs() - startedMs <= goodMs;
        if (isCounted && isInTime) good[tenant] = (good[tenant] ?? 0) + 1;
      });
      place.release();
    } catch (error) {
      expect(asGatewayError(error)).toMatchObject({ code: 'overloaded', status: 503 });
      expect(asGatewayError(error).retryAfterS).toBeGreaterThanOrEqual(1);
      if (!isCounted) return;
      refused += 1;
      if (clock.nowMs() > startedMs) late += 1;
    }
  };
  for (const [tenant, rate] of Object.entries(rates)) {
    const next = (): void => {
      clock.after((-1000 * Math.log(1 - clock.random()) * holdS) / (rate * capacity), () => {
        void ask(tenant);
        next();
      });
    };
    next();
  }
  await clock.advance(240_000);
  const count = Object.values(good).reduce((sum, one) => sum + one, 0);
  const served = Object.entries(asked).map(([tenant, all]) => [tenant, (good[tenant] ?? 0) / all] as const);
  return {
    goodput: count / 120,
    served: Object.fromEntries(served),
    lateRefusals: late / Math.max(1, refused),
  };
}

const found = (clock: VirtualClock): ConcurrencyLimit => new GradientLimit({ clock, min: 1, max: 1000 });
const fixed = (): ConcurrencyLimit => new FixedLimit(capacity);

test.each([
  ['that is what fits', fixed],
  ['that finds itself', found],
])('promise 17: at three times what fits as much is served in time, with a limit %s', async (_, limit) => {
  const one = await load({ all: 1 }, limit);
  const three = await load({ all: 3 }, limit);
  expect(three.goodput).toBeGreaterThan(0.9 * one.goodput);
  // Of 40 places, each held for 5.4 s.
  expect(one.goodput).toBeGreaterThan(6);
  expect(three.lateRefusals).toBeLessThan(0.01);
  // Without a limit next to nobody is served in time: what is promised is not true by itself.
  const unlimited = await load({ all: 3 }, () => new FixedLimit(10_000));
  expect(unlimited.goodput).toBeLessThan(0.2 * one.goodput);
});

test('promise 17: nine quiet tenants beside a loud one get what they have alone', async () => {
  const quiet = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`quiet ${index}`, 0.05]));
  const alone = await load(quiet, fixed);
  const beside = await load({ ...quiet, loud: 3 }, fixed);
  for (const tenant of Object.keys(quiet)) {
    expect(beside.served[tenant], tenant).toBeGreaterThan(0.95 * (alone.served[tenant] ?? 0));
  }
  expect(beside.served['loud']).toBeLessThan(0.4);
  // One that finds itself falls below what fits at times. What comes free then is for those that have little.
  const { served } = await load({ ...quiet, loud: 3 }, found);
  const parts = Object.keys(quiet).map((tenant) => (served[tenant] ?? 0) / (alone.served[tenant] ?? 1));
  expect(parts.reduce((sum, one) => sum + one, 0) / parts.length).toBeGreaterThan(0.97);
  expect(Math.min(...parts)).toBeGreaterThan(0.9);
});
