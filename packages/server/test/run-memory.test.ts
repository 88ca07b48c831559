import { openChannel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProperty } from '../../core/test/support/property.ts';
import { RunMemory } from '../src/memory/run-memory.ts';

/** A run of that number, whose bytes say so; they are lent. */
function lend(number: number, length: number): EventRun {
  const text = `${number} `.repeat(Math.ceil(length / 2)).slice(0, length);
  return { bytes: Buffer.from(text), byteLength: length, events: number % 7 };
}

const isCapital = (number: number): boolean => number % 5 === 0;

/** Merges neighbours of which none is a fifth, as something that is told from what was not merged. */
function merge(first: EventRun, second: EventRun): EventRun | undefined {
  if (isCapital(first.bytes[0] ?? 0) || isCapital(second.bytes[0] ?? 0)) return undefined;
  return {
    bytes: Buffer.concat([first.bytes, second.bytes]),
    byteLength: first.byteLength + second.byteLength,
    events: first.events + second.events,
    mergedEvents: 1,
  };
}

test('what comes out is what was put in, whatever is released and merged meanwhile', async () => {
  await checkProperty(
    'run memory: what comes out is what was put in',
    fc.property(
      fc.array(fc.record({ length: fc.integer({ min: 1, max: 3000 }), takes: fc.nat(3) }), { maxLength: 80 }),
      fc.constantFrom(0, 3000, 20_000),
      fc.boolean(),
      (steps, maxHeldBytes, merges) => {
        const channel = openChannel<EventRun>({
          maxBytes: 20_000,
          weigh: ({ byteLength }) => byteLength,
          memory: new RunMemory(),
          merge,
          replay: { maxHeldBytes, merges },
        });
        const reader = channel.reader({ overflow: 'coalesce' });
        const written: Buffer[] = [];
        const taken: Buffer[] = [];
        let events = 0;
        const take = (): boolean => {
          const run = reader.take();
          if (run === undefined) return false;
          taken.push(Buffer.from(run.bytes));
          events -= run.events;
          return true;
        };
        for (const [number, { length, takes }] of steps.entries()) {
          const run = lend(number, length);
          while (channel.offer(run) === 'full') expect(take()).toBe(true);
          written.push(Buffer.from(run.bytes));
          events += run.events;
          // The next read takes its place.
          run.bytes.fill(0x78);
          for (let count = 0; count < takes; count += 1) take();
        }
        while (take());
        expect(Buffer.concat(taken).equals(Buffer.concat(written))).toBe(true);
        expect(events).toBe(0);
      },
    ),
  );
});

test('it stays small while what is kept does, and is gone with it', () => {
  const memory = new RunMemory();
  const channel = openChannel<EventRun>({
    maxBytes: 50_000,
    weigh: ({ byteLength }) => byteLength,
    memory,
    replay: { maxBytes: 10_000 },
  });
  const reader = channel.reader();
  expect(memory.allocatedBytes).toBe(0);
  let mostBytes = 0;
  for (let number = 0; number < 10_000; number += 1) {
    expect(channel.offer(lend(number, 200))).toBe('accepted');
    reader.take();
    mostBytes = Math.max(mostBytes, memory.allocatedBytes);
  }
  expect(mostBytes).toBeGreaterThan(10_000);
  expect(mostBytes).toBeLessThanOrEqual(16_384);
  channel.cancel();
  expect(memory.allocatedBytes).toBe(0);
});

test.each(['complete', 'fail'] as const)('it has no room to grow when nothing more comes: %s', (end) => {
  const memory = new RunMemory();
  const channel = openChannel<EventRun>({
    maxBytes: 50_000,
    weigh: ({ byteLength }) => byteLength,
    memory,
    replay: { maxBytes: 50_000 },
  });
  for (let number = 0; number < 100; number += 1) channel.offer(lend(number, 200));
  expect(memory.allocatedBytes).toBeGreaterThan(22_000);
  if (end === 'complete') channel.complete();
  else channel.fail(new Error('cut'));
  expect(memory.allocatedBytes).toBe(100 * 208);
  const reader = channel.reader();
  for (let number = 0; number < 100; number += 1) {
    expect(reader.take()?.bytes).toEqual(lend(number, 200).bytes);
  }
});

test('a run that stays unmerged holds on to the room of no other', () => {
  const memory = new RunMemory();
  const channel = openChannel<EventRun>({
    maxBytes: 50_000,
    weigh: ({ byteLength }) => byteLength,
    memory,
    // As if all said the same.
    merge: (first, { events }) =>
      first.events === 0
        ? undefined
        : { ...first, bytes: Buffer.from(first.bytes), events: first.events + events, mergedEvents: 1 },
    replay: { maxHeldBytes: 50_000, merges: true },
  });
  const reader = channel.reader();
  channel.offer({ ...lend(1, 200), events: 0 });
  for (let number = 0; number < 10_000; number += 1) {
    channel.offer({ ...lend(2, 200), events: 1 });
    reader.take();
  }
  expect(memory.allocatedBytes).toBeLessThanOrEqual(40_000);
  const again = channel.reader();
  expect(again.take()).toMatchObject({ byteLength: 200, events: 0 });
});

test('what is owned is copied once, however often it waits', () => {
  const memory = new RunMemory();
  const owned = memory.own(lend(1, 3000));
  expect(memory.own(owned)).toBe(owned);
  const merged = merge(lend(1, 20), lend(2, 20));
  expect(merged && memory.own(merged)).toBe(merged);
});
