import { expect, test } from 'vitest';
import { PlaceQueue } from '../src/limit/place-queue.ts';

const waiter = () => ({ retry: () => undefined });

test('one tenant has two thirds of the waiting room, whatever it waits for', () => {
  const queue = new PlaceQueue(9);
  const waiting = Array.from({ length: 9 }, waiter);
  const keyOf = (index: number): string => (index % 2 ? '{clinic}streams' : `{clinic}user:${index}:streams`);
  expect(waiting.map((one, index) => queue.add(keyOf(index), one)).filter(Boolean)).toHaveLength(6);
  const others = Array.from({ length: 4 }, waiter);
  expect(others.map((one) => queue.add('{shop}streams', one))).toEqual([true, true, true, false]);
  for (const [index, one] of waiting.entries()) queue.remove(keyOf(index), one);
  expect(queue.size).toBe(3);
  expect(queue.add('{clinic}streams', waiter())).toBe(true);
});
