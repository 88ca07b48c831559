import type { LimitError } from '@spillway/server/limit/limit-error';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pressureRules } from '../src/config/pressure-rule.ts';
import { type RunningAnswer, stopAnswers } from '../src/pressure/stop-answers.ts';

type Named = Pick<RunningAnswer, 'names' | 'priority' | 'startedMs' | 'tenant'>;

/** Which of the answers are stopped, by their numbers, in their order. */
function stopped(text: string, running: readonly Named[]): number[] {
  const order: number[] = [];
  const stop = (index: number) => (error: LimitError) => {
    expect(error).toMatchObject({ code: 'limit_reached', reached: { scope: 'answer', name: 'pressure' } });
    order.push(index);
  };
  const answers = running.map((answer, index) => ({ ...answer, stop: stop(index) }));
  expect(stopAnswers(3, pressureRules.parse(text), () => answers)).toBe(order.length);
  return order;
}

const answer = (tenant: string, startedMs: number, more: Partial<Named> = {}): Named => ({
  tenant,
  startedMs,
  priority: 'normal',
  names: ['m', 'local/m'],
  ...more,
});

test('the lowest priority is stopped first, then whose tenant has most, then the newest', () => {
  const running = [
    answer('a', 9, { priority: 'high' }),
    answer('b', 1),
    answer('b', 2),
    answer('b', 3),
    answer('c', 8, { priority: 'low' }),
    answer('d', 4, { priority: 'low' }),
    answer('d', 5, { priority: 'low' }),
  ];
  expect(stopped('level=3,stop=normal', running)).toEqual([6]);
  expect(stopped('level=3,stop=normal', running.slice(0, 5))).toEqual([4]);
  expect(stopped('level=3,stop=normal', running.slice(0, 4))).toEqual([3]);
  expect(stopped('level=3,stop=normal', running.slice(0, 1))).toEqual([]);
  expect(stopped('level=3,stop=high', running.slice(0, 1))).toEqual([0]);
});

test('only those are stopped that a rule is for', () => {
  const running = [answer('a', 1), answer('b', 2), answer('b', 3, { names: ['other/x'] })];
  expect(stopped('level=3,stop=high,tenants=a', running)).toEqual([0]);
  expect(stopped('level=3,stop=high,models=m', running)).toEqual([1]);
  expect(stopped('level=3,stop=high,models=other/*', running)).toEqual([2]);
  expect(stopped('level=3,stop=high,priorities=low', running)).toEqual([]);
  expect(stopped('level=3,refuse=high', running)).toEqual([]);
});

test('of more than a hundred one in a hundred is stopped, and of no tenant that has less than another', () => {
  const priorities = fc.constantFrom('low', 'normal', 'high' as const);
  const some = fc.array(
    fc.record({ tenant: fc.constantFrom('a', 'b', 'c'), startedMs: fc.nat(1000), priority: priorities }),
    { maxLength: 450 },
  );
  fc.assert(
    fc.property(some, (running) => {
      const left = running.map((one) => ({ ...one, names: [] }));
      const order = stopped('level=1,stop=high', left);
      expect(order).toHaveLength(Math.ceil(running.length / 100));
      const gone = new Set<number>();
      for (const index of order) {
        const others = left.filter((_, other) => !gone.has(other));
        const { priority, startedMs, tenant } = left[index] ?? answer('', 0);
        const lowest = (['low', 'normal', 'high'] as const).find((one) =>
          others.some((other) => other.priority === one),
        );
        expect(priority).toBe(lowest);
        const least = others.filter((other) => other.priority === lowest);
        const own = least.filter((other) => other.tenant === tenant);
        for (const name of ['a', 'b', 'c']) {
          expect(least.filter((other) => other.tenant === name).length).toBeLessThanOrEqual(own.length);
        }
        expect(startedMs).toBe(Math.max(...own.map((other) => other.startedMs)));
        gone.add(index);
      }
    }),
  );
});
