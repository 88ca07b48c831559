import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dataHeaderBytes, decodeData, encodeDataHeader } from '../src/session/frames.ts';
import { checkProperty } from './support/property.ts';

const maxStream = 2 ** 32 - 1;
const maxOffset = 2 ** 48 - 1;

test('the head of a data frame is read as it was written', async () => {
  const offset = fc.oneof(fc.nat(9), fc.maxSafeNat(), fc.integer({ min: maxOffset - 9, max: maxOffset + 9 }));
  const stream = fc.oneof(fc.nat(9), fc.integer({ min: maxStream - 9, max: maxStream + 9 }));
  await checkProperty(
    'frames: the head of a data frame is read as it was written, or refused',
    fc.property(stream, offset, offset, (number, from, to) => {
      const fits = number <= maxStream && from <= maxOffset && to <= maxOffset;
      if (!fits) {
        expect(() => encodeDataHeader(number, from, to)).toThrow(
          expect.objectContaining({ code: 'invalid_option' }),
        );
        return;
      }
      const header = encodeDataHeader(number, from, to);
      expect(header).toHaveLength(dataHeaderBytes);
      const frame = { stream: number, from, to, bytes: new Uint8Array(0) };
      // A range that goes back is none.
      expect(decodeData(header.buffer)).toEqual(from <= to ? frame : undefined);
    }),
  );
});

test.each([
  [-1, 0, 1],
  [1.5, 0, 1],
  [1, -1, 1],
  [1, 0.5, 1],
  [1, 0, 2 ** 48],
  [2 ** 32, 0, 1],
  [1, Number.NaN, Number.NaN],
])('what does not fit is refused and does not wrap: stream %d, %d to %d', (stream, from, to) => {
  expect(() => encodeDataHeader(stream, from, to)).toThrow('offsets below 2^48');
});
