import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Breaker, type BreakerState } from '../src/provider/gate/breaker.ts';

/** A breaker on a clock that is set by hand. */
function open(): {
  readonly breaker: Breaker;
  readonly changes: BreakerState[];
  readonly pass: (ms: number) => void;
  readonly ask: (outcome: 'failed' | 'left' | 'succeeded', times?: number) => void;
} {
  let nowMs = 5_000;
  const changes: BreakerState[] = [];
  const breaker = new Breaker({
    clock: { nowMs: () => nowMs },
    breakMs: 2000,
    onChange: (state) => changes.push(state),
  });
  return {
    breaker,
    changes,
    pass: (ms) => (nowMs += ms),
    ask(outcome, times = 1) {
      for (let at = 0; at < times; at += 1) {
        const time = breaker.enter();
        if (time !== undefined) breaker[outcome](time);
      }
    },
  };
}

describe('a breaker', () => {
  test('opens when five have failed and they are half of all', () => {
    const { ask, breaker } = open();
    ask('succeeded', 5);
    ask('failed', 4);
    expect(breaker.state).toBe('closed');
    ask('failed');
    expect(breaker.state).toBe('open');
    expect(breaker.enter()).toBeUndefined();
    expect(breaker.waitMs).toBe(2000);
  });

  test('bears failures that are fewer than half', () => {
    const { ask, breaker } = open();
    ask('succeeded', 50);
    ask('failed', 49);
    expect(breaker.state).toBe('closed');
  });

  test('forgets what is older than ten seconds', () => {
    const { ask, breaker, pass } = open();
    ask('failed', 4);
    pass(10_000);
    ask('failed', 4);
    expect(breaker.state).toBe('closed');
    pass(9_000);
    ask('failed');
    expect(breaker.state).toBe('open');
  });

  test('is tried by three at once after its pause, and closes when three succeeded', () => {
    const { breaker, ask, changes, pass } = open();
    ask('failed', 5);
    pass(1999);
    expect(breaker.enter()).toBeUndefined();
    pass(1);
    const trials = [breaker.enter(), breaker.enter(), breaker.enter()];
    expect(trials).not.toContain(undefined);
    expect(breaker.enter()).toBeUndefined();
    expect(breaker.state).toBe('half-open');
    for (const time of trials) if (time !== undefined) breaker.succeeded(time);
    expect(changes).toEqual(['open', 'half-open', 'closed']);
    // What failed before counts no more.
    ask('failed', 4);
    expect(breaker.state).toBe('closed');
  });

  test('opens again with the first trial that fails', () => {
    const { breaker, ask, changes, pass } = open();
    ask('failed', 5);
    pass(2000);
    const first = breaker.enter() ?? -1;
    const second = breaker.enter() ?? -1;
    breaker.succeeded(first);
    breaker.failed(second);
    expect(changes).toEqual(['open', 'half-open', 'open']);
    expect(breaker.waitMs).toBe(2000);
  });

  test('lets others try after each pause while those that try hang', () => {
    const { breaker, ask, pass } = open();
    ask('failed', 5);
    pass(2000);
    for (let trial = 0; trial < 3; trial += 1) breaker.enter();
    expect(breaker.enter()).toBeUndefined();
    pass(2000);
    ask('succeeded', 3);
    expect(breaker.state).toBe('closed');
  });

  test('does not count who was given up: another may try instead', () => {
    const { breaker, ask, pass } = open();
    ask('failed', 5);
    pass(2000);
    ask('left', 20);
    expect(breaker.state).toBe('half-open');
    expect(breaker.waitMs).toBe(0);
    ask('succeeded', 3);
    expect(breaker.state).toBe('closed');
  });

  test('hears nothing from a time that is over', () => {
    const { breaker, ask, pass } = open();
    const old = [breaker.enter() ?? -1, breaker.enter() ?? -1, breaker.enter() ?? -1, breaker.enter() ?? -1];
    ask('failed', 5);
    pass(2000);
    const trial = breaker.enter() ?? -1;
    const [one = -1, two = -1, three = -1, four = -1] = old;
    breaker.succeeded(one);
    breaker.succeeded(two);
    breaker.left(three);
    breaker.failed(four);
    expect(breaker.state).toBe('half-open');
    breaker.failed(trial);
    expect(breaker.state).toBe('open');
  });

  test('never lets more than three try at once, and can always be brought back', () => {
    const step = fc.oneof(
      fc.constantFrom('enter', 'succeeded', 'failed', 'left'),
      fc.integer({ min: 1, max: 3000 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { breaker, pass } = open();
        const out: number[] = [];
        let passedMs = 0;
        for (const what of steps) {
          if (typeof what === 'number') {
            pass(what);
            passedMs += what;
          } else if (what === 'enter') out.push(...[breaker.enter()].filter((time) => time !== undefined));
          else for (const time of out.splice(0, 1)) breaker[what](time);
          const latest = Math.max(...out);
          if (breaker.state === 'half-open')
            expect(out.filter((time) => time === latest).length).toBeLessThanOrEqual(
              3 * (1 + Math.floor(passedMs / 2000)),
            );
          if (breaker.state === 'closed') expect(breaker.waitMs).toBe(0);
        }
        for (const time of out) breaker.left(time);
        for (let trial = 0; trial < 3; trial += 1) {
          pass(2000);
          const time = breaker.enter();
          expect(time).toBeDefined();
          if (time !== undefined) breaker.succeeded(time);
        }
        expect(breaker.state).toBe('closed');
      }),
    );
  });
});
