import { expect, test } from 'vitest';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { Link } from '../../src/simulate/carrier/link.ts';

test('a stall holds back what is behind it, and then all of it comes at once and in order', async () => {
  const clock = new VirtualClock();
  const link = new Link(clock, { delayMs: 100, stallRate: 0.02, stallMs: 500, seed: 3 }, 0);
  const waits: number[] = [];
  const order: number[] = [];
  for (let index = 0; index < 500; index += 1) {
    const sentMs = clock.nowMs();
    link.pass(() => {
      order.push(index);
      waits.push(clock.nowMs() - sentMs);
    });
    await clock.advance(20);
  }
  await clock.advance(1000);
  expect(order).toEqual(Array.from({ length: 500 }, (_, index) => index));
  const stall = waits.findIndex((ms) => ms > 100);
  // No other one stalls behind the first.
  expect(waits.slice(stall, stall + 5)).toEqual([600, 580, 560, 540, 520]);
  expect(waits.slice(0, stall).every((ms) => ms === 100)).toBe(true);
  expect(Math.max(...waits)).toBe(600);
});
