import type { Timer } from '@spillway/core/clock';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PaceShare, TokenPace } from '../src/limit/token-pace.ts';

/** Time that passes at once: no promise depends on a pace, so nothing has to be waited for between two calls. */
class QuickClock {
  #nowMs = 0;
  readonly #due: { readonly atMs: number; readonly callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, callback: () => void): Timer {
    const due = { atMs: this.#nowMs + ms, callback };
    this.#due.splice(this.#due.findLastIndex(({ atMs }) => atMs <= due.atMs) + 1, 0, due);
    return {
      stop: () => {
        const at = this.#due.indexOf(due);
        if (at !== -1) this.#due.splice(at, 1);
      },
    };
  }

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let [due] = this.#due; due !== undefined && due.atMs <= untilMs; [due] = this.#due) {
      this.#due.shift();
      this.#nowMs = due.atMs;
      due.callback();
    }
    this.#nowMs = untilMs;
  }
}

/** A stream: what its events count, and how long it is silent after each. */
interface Stream {
  readonly tokens: number;
  readonly silentMs: number;
}

interface Gone {
  readonly stream: number;
  readonly tokens: number;
  readonly atMs: number;
}

const paceOf = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0.3, max: 3, noNaN: true }));
const streamOf = fc.record({
  tokens: fc.constantFrom(1, 1, 1, 2, 0.5, 7, 50),
  silentMs: fc.constantFrom(0, 0, 0, 5, 333, 4000),
});

/**
 * Lets the streams ask for events one after the other, as fast as they are let. Returns what has gone, and when. `known`:
 * what the pace remembers of the first of them.
 */
function run(
  clock: QuickClock,
  pace: TokenPace,
  streams: readonly Stream[],
  ms: number,
  known: PaceShare = { servedTo: 0 },
): Gone[] {
  const gone: Gone[] = [];
  for (const [stream, { silentMs, tokens }] of streams.entries()) {
    const share = stream === 0 ? known : { servedTo: 0 };
    const went = (): void => {
      gone.push({ stream, tokens, atMs: clock.nowMs() });
      if (silentMs === 0) ask();
      else clock.after(silentMs, ask);
    };
    const ask = (): void => {
      if (pace.isFree(tokens)) {
        pace.take(share, tokens);
        went();
      } else pace.wait(share, tokens, went);
    };
    ask();
  }
  clock.advance(ms);
  return gone;
}

function sum(gone: readonly Gone[]): number {
  return gone.reduce((total, { tokens }) => total + tokens, 0);
}

test('a pace never gives more than its rate and its burst, and never less while somebody always waits', () => {
  fc.assert(
    fc.property(paceOf, fc.array(streamOf, { minLength: 1, maxLength: 6 }), (tokensPerSecond, streams) => {
      const clock = new QuickClock();
      const pace = new TokenPace(tokensPerSecond, clock);
      const ms = 20_000;
      const gone = run(clock, pace, streams, ms);
      const largest = Math.max(...streams.map(({ tokens }) => tokens));
      const beyond = Math.max(0, largest - pace.burst);
      // From any moment to any later one: what went beyond the rate.
      const rated = ({ atMs }: Gone): number => (tokensPerSecond * atMs) / 1000;
      let most = 0;
      let total = 0;
      let least = Infinity;
      for (const each of gone) {
        least = Math.min(least, total - rated(each));
        // What an event owes is bounded.
        total += Math.min(each.tokens, pace.burst + 10 * tokensPerSecond);
        most = Math.max(most, total - rated(each) - least);
      }
      expect(most).toBeLessThanOrEqual(pace.burst + beyond + 1e-3);
      // A timer is late by less than a millisecond, and what is missing for the next event is not given yet.
      if (!streams.some(({ silentMs }) => silentMs === 0)) return;
      expect(sum(gone)).toBeGreaterThanOrEqual((tokensPerSecond * ms) / 1000 - largest - 1e-3);
    }),
    { numRuns: 300 },
  );
});

test('streams that always wait share a pace evenly, however large their events are, and who comes late owes nothing', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 100 }),
      fc.array(fc.constantFrom(1, 1, 3, 10), { minLength: 2, maxLength: 5 }),
      (tokensPerSecond, sizes) => {
        const clock = new QuickClock();
        const pace = new TokenPace(tokensPerSecond, clock);
        // Before the others come, the first has had the pace to itself for long.
        const share = { servedTo: 0 };
        for (let count = 0; count < 40; count += 1) {
          clock.advance(pace.freshInMs);
          expect(pace.isFree(1)).toBe(true);
          pace.take(share, 1);
        }
        const gone = run(
          clock,
          pace,
          sizes.map((tokens) => ({ tokens, silentMs: 0 })),
          30_000,
          share,
        );
        const got = sizes.map((_, stream) => sum(gone.filter((each) => each.stream === stream)));
        const uneven = Math.max(...got) - Math.min(...got);
        // The burst goes to whoever asks first.
        expect(uneven).toBeLessThanOrEqual(2 * Math.max(...sizes) + pace.burst);
      },
    ),
    { numRuns: 300 },
  );
});

test('a large event holds up the next one for 10 seconds at most', () => {
  const clock = new QuickClock();
  const pace = new TokenPace(50, clock);
  const [first, next] = run(clock, pace, [{ tokens: 25_000, silentMs: 0 }], 15_000);
  expect(first?.atMs).toBe(0);
  // The debt, and then the burst that a large event waits for.
  expect(next?.atMs).toBeLessThanOrEqual(10_200);
});

test('a wait of months does not keep the timer busy', () => {
  const waits: number[] = [];
  const timer = { stop: () => undefined, unref: () => timer };
  const after = (ms: number) => {
    waits.push(ms);
    return timer;
  };
  const pace = new TokenPace(1e-9, { nowMs: () => 0, after });
  const share = { servedTo: 0 };
  pace.take(share, 4);
  pace.wait(share, 1, () => undefined);
  expect(waits).toEqual([2_147_483_647]);
});

test('who leaves gives its turn to the next one, and a pace that changes holds for who waits', () => {
  const clock = new QuickClock();
  const pace = new TokenPace(1, clock);
  const [first, second] = [{ servedTo: 0 }, { servedTo: 0 }];
  for (const share of [first, second]) pace.take(share, pace.burst / 2);
  const gone: string[] = [];
  pace.wait(first, 4, () => gone.push('first'));
  pace.wait(second, 1, () => gone.push('second'));
  pace.leave(first);
  clock.advance(999);
  expect(gone).toEqual([]);
  clock.advance(2);
  expect(gone).toEqual(['second']);
  pace.wait(first, 4, () => gone.push('first'));
  clock.advance(1000);
  pace.tokensPerSecond = 1000;
  clock.advance(4);
  expect(gone).toEqual(['second', 'first']);
});
