import { expect, test } from 'vitest';
import fc from 'fast-check';
import { MediaOrder } from '../../src/carrier/media-order.ts';

test('what is swapped by up to five places comes in order, and nothing is lost', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 60 }), (delays) => {
      const order = new MediaOrder<number>();
      // The first one says where it begins. Each other one comes up to five places later.
      const sent = delays
        .map((delay, index) => ({ chunk: index, at: index === 0 ? -1 : index + delay }))
        .toSorted((a, b) => a.at - b.at || a.chunk - b.chunk)
        .map(({ chunk }) => chunk);
      const got = [...sent.flatMap((chunk) => order.push(chunk, chunk)), ...order.flush()];
      expect(got).toEqual(delays.map((_, index) => index));
    }),
  );
});

test('what is lost is waited for no longer than five pieces, and dropped if it comes then', () => {
  const order = new MediaOrder<number>();
  expect(order.push(1, 1)).toEqual([1]);
  for (const chunk of [3, 4, 5, 6, 7]) expect(order.push(chunk, chunk)).toEqual([]);
  expect(order.push(8, 8)).toEqual([3, 4, 5, 6, 7, 8]);
  expect(order.push(2, 2)).toEqual([]);
  expect(order.push(9, 9)).toEqual([9]);
  expect(order.push(12, 12)).toEqual([]);
  expect(order.push(11, 11)).toEqual([]);
  expect(order.flush()).toEqual([11, 12]);
});
