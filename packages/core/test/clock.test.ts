import { type Clock, systemClock } from '../src/clock.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { describe, expect, test } from 'vitest';
import { within } from './support/within.ts';

describe('the system’s clock', () => {
  test('goes on, and calls back once that time has passed', async () => {
    const startMs = systemClock.nowMs();
    await within(new Promise<void>((resolve) => void systemClock.after(5, resolve)), 'a timer');
    // Timers of Node may be a millisecond early by this measure.
    expect(systemClock.nowMs() - startMs).toBeGreaterThanOrEqual(4);
  });

  test('does not call back who stopped it', async () => {
    const called: string[] = [];
    const stopped = systemClock.after(0, () => called.push('stopped'));
    stopped.stop();
    const other = Promise.withResolvers<void>();
    systemClock.after(5, other.resolve);
    await within(other.promise, 'a timer');
    expect(called).toEqual([]);
    stopped.stop();
  });

  test('its numbers are from 0 to less than 1, and its bytes are never the same', () => {
    const numbers = Array.from({ length: 1000 }, () => systemClock.random());
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
    expect(new Set(numbers).size).toBeGreaterThan(990);
    expect(systemClock.randomBytes(0)).toHaveLength(0);
    expect(systemClock.randomBytes(24)).not.toEqual(systemClock.randomBytes(24));
  });
});

describe('a virtual clock', () => {
  test('stands still until it is advanced, for as long as that', async () => {
    const clock = new VirtualClock({ startDateMs: 1000 });
    await new Promise((resolve) => setTimeout(resolve, 2));
    expect([clock.nowMs(), clock.dateMs()]).toEqual([0, 1000]);
    await clock.advance(86_400_000);
    expect([clock.nowMs(), clock.dateMs()]).toEqual([86_400_000, 86_401_000]);
  });

  test('calls back in the order of what is due, and of the same moment as it was asked for', async () => {
    const clock = new VirtualClock();
    const trace: string[] = [];
    const say = (what: string) => () => void trace.push(`${clock.nowMs()} ${what}`);
    // More than a few, in an order in which a heap has work.
    for (const ms of [70, 10, 90, 30, 50, 20, 80, 40, 60]) clock.after(ms, say(`after ${ms}`));
    clock.after(30, say('another'));
    clock.after(100, say('too late'));
    clock.after(10, () => clock.after(0, say('from within')));
    await clock.advance(99);
    expect(trace).toEqual([
      '10 after 10',
      '10 from within',
      '20 after 20',
      '30 after 30',
      '30 another',
      '40 after 40',
      '50 after 50',
      '60 after 60',
      '70 after 70',
      '80 after 80',
      '90 after 90',
    ]);
    await clock.advance(1);
    expect(trace.at(-1)).toBe('100 too late');
  });

  test('one moment is done with, promises included, before the next one comes', async () => {
    const clock = new VirtualClock();
    const trace: string[] = [];
    const wait = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));
    const work = async (name: string): Promise<void> => {
      await wait(10);
      for (let step = 0; step < 50; step += 1) await Promise.resolve();
      trace.push(`${name} ${clock.nowMs()}`);
      await wait(10);
      trace.push(`${name} ${clock.nowMs()}`);
    };
    void work('a');
    clock.after(10.5, () => trace.push('between'));
    clock.after(10, () => {
      clock.nextTurn(() => trace.push('turn'));
      clock.nextTick((word) => trace.push(word), 'tick');
      trace.push('now');
    });
    await clock.advance(60);
    expect(trace).toEqual(['a 10', 'now', 'tick', 'turn', 'between', 'a 20']);
  });

  test('calls back at intervals until it is stopped, and not who was stopped', async () => {
    const clock = new VirtualClock();
    const calls: number[] = [];
    const interval = clock.every(1000, () => {
      calls.push(clock.nowMs());
      if (calls.length === 3) interval.stop();
    });
    const timer = clock.after(1500, () => calls.push(-1));
    clock.soon(500, () => timer.stop());
    await clock.advance(10_000);
    expect(calls).toEqual([1000, 2000, 3000]);
  });

  test('what a callback throws is told, and the time stands there', async () => {
    const clock = new VirtualClock();
    clock.after(5, () => {
      throw new Error('a defect');
    });
    clock.after(6, () => undefined);
    await expect(clock.advance(10)).rejects.toThrow('a defect');
    expect(clock.nowMs()).toBe(5);
    await clock.advance(10);
    expect(clock.nowMs()).toBe(15);
  });

  test('one advance at a time', async () => {
    const clock = new VirtualClock();
    const first = clock.advance(10);
    await expect(clock.advance(10)).rejects.toThrow('one at a time');
    await first;
  });

  test('the same seed has the same randomness, and another seed another one', () => {
    const drawn = (seed: number): unknown[] => {
      const clock: Clock = new VirtualClock({ seed });
      return [clock.random(), [...clock.randomBytes(24)], clock.random()];
    };
    expect(drawn(7)).toEqual(drawn(7));
    expect(drawn(7)).not.toEqual(drawn(8));
    const clock = new VirtualClock({ seed: 0 });
    const numbers = Array.from({ length: 10_000 }, () => clock.random());
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
    const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
    expect(new Set(clock.randomBytes(4096)).size).toBe(256);
  });
});
