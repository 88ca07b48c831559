import { expect, test } from 'vitest';
import { createGate, openChannel, openCredit } from '../src/index.ts';
import { within } from './support/within.ts';

test('a reader takes what lies below its gate, and sees the end when all is open', () => {
  const channel = openChannel<string>({ maxItems: 10 });
  const gate = createGate();
  const reader = channel.reader({ gates: [gate] });
  for (const letter of 'abc') channel.offer(letter);
  channel.complete();
  expect(reader.take()).toBeUndefined();
  expect(reader.waitingItems).toBe(3);
  gate.open(2);
  expect(reader.takeAll()).toEqual(['a', 'b']);
  gate.open(1);
  expect(reader.take()).toBeUndefined();
  gate.open(3);
  expect(reader.take()).toBe('c');
  expect(reader.end).toBeUndefined();
  gate.open(Infinity);
  expect(reader.end).toEqual({ state: 'completed' });
});

test('a gate that opens wakes whoever waits, and a closed one is no missing credit', async () => {
  const channel = openChannel<string>({ maxItems: 10 });
  const gate = createGate();
  let blocked = 0;
  const credit = openCredit({ maxItems: 1, initial: { items: 1 } });
  const reader = channel.reader({ gates: [gate], credit: [credit], onCreditBlocked: () => (blocked += 1) });
  channel.offer('a');
  channel.offer('b');
  const first = reader.ready();
  gate.open(1);
  expect(await within(first, 'the gate to wake the reader')).toBe(true);
  expect(reader.take()).toBe('a');
  // Now both are missing: the credit is told of when it is what is missing.
  const second = reader.ready();
  expect(blocked).toBe(0);
  gate.open(2);
  expect(blocked).toBe(1);
  credit.grant({ items: 1 });
  expect(await within(second, 'the credit to wake the reader')).toBe(true);
  expect(reader.take()).toBe('b');
});

test('a merge stops at the gate', () => {
  const channel = openChannel<string>({
    maxItems: 10,
    weigh: (text) => text.length,
    merge: (first, second) => first + second,
  });
  const gate = createGate();
  const reader = channel.reader({ overflow: 'coalesce', gates: [gate] });
  void reader.ready();
  for (const letter of 'abcd') channel.offer(letter);
  gate.open(2);
  expect(reader.take()).toBe('ab');
  gate.open(4);
  void reader.ready();
  expect(reader.take()).toBe('cd');
});

test('every gate has to be open, and a cancel is seen at once', () => {
  const channel = openChannel<string>({ maxItems: 10 });
  const gates = [createGate(), createGate()] as const;
  const reader = channel.reader({ gates });
  channel.offer('a');
  gates[0].open(Infinity);
  expect(reader.take()).toBeUndefined();
  const listeners = gates.map((gate) => gate.onOpen(() => undefined));
  for (const remove of listeners) remove();
  channel.cancel(new Error('enough'));
  expect(reader.end?.state).toBe('cancelled');
});

test('NaN is refused', () => {
  expect(() => createGate().open(Number.NaN)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
});
