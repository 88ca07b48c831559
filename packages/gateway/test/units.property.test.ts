import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readQuantity, type Unit, writeQuantity } from '../src/config/units.ts';

const unit = fc.constantFrom<Unit>('bytes', 'count', 'ms');
/** What stands behind a number, and what it means. Written down anew, and not taken from the parser. */
const factors: Readonly<Record<Unit, Readonly<Record<string, number>>>> = {
  bytes: {
    '': 1,
    B: 1,
    b: 1,
    k: 1024,
    K: 1024,
    Ki: 1024,
    KiB: 1024,
    kib: 1024,
    kB: 1000,
    KB: 1000,
    M: 1_048_576,
    Mi: 1_048_576,
    MiB: 1_048_576,
    MB: 1_000_000,
    g: 1_073_741_824,
    Gi: 1_073_741_824,
    GiB: 1_073_741_824,
    GB: 1_000_000_000,
  },
  count: { '': 1 },
  ms: { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 },
};

describe('a number with its unit', () => {
  test('is the number times its unit, with a space between them or without', () => {
    fc.assert(
      fc.property(unit, fc.nat(), fc.nat(), fc.constantFrom('', ' '), (of, number, choice, space) => {
        const known = Object.entries(factors[of]);
        const [letters, factor] = known[choice % known.length] ?? ['', 1];
        const text = letters === '' ? String(number) : `${number}${space}${letters}`;
        const expected = number * factor;
        expect(readQuantity(text, of), text).toBe(Number.isSafeInteger(expected) ? expected : undefined);
      }),
    );
  });

  test('is read again as it was written, and no unit that divides it is larger', () => {
    fc.assert(
      fc.property(unit, fc.maxSafeNat(), fc.integer({ min: 0, max: 40 }), (of, whole, bits) => {
        const number = Math.floor(whole / 2 ** bits) * 2 ** bits;
        expect(readQuantity(writeQuantity(number, of), of)).toBe(number);
      }),
    );
    const written: [number, Unit, string][] = [
      [65_536, 'bytes', '64KiB'],
      [16_777_216, 'bytes', '16MiB'],
      [3_221_225_472, 'bytes', '3GiB'],
      [1000, 'bytes', '1000'],
      [0, 'bytes', '0'],
      [30_000, 'ms', '30s'],
      [90_000, 'ms', '90s'],
      [300_000, 'ms', '5m'],
      [86_400_000, 'ms', '24h'],
      [250, 'ms', '250ms'],
      [3_600_000, 'count', '3600000'],
    ];
    for (const [number, of, text] of written) expect(writeQuantity(number, of)).toBe(text);
  });

  test('is nothing but a whole number and a unit of its kind', () => {
    fc.assert(
      fc.property(
        unit,
        fc.oneof(fc.string(), fc.stringMatching(/^[0-9]{1,3}[ .]?[kmgsdhKMGT]?[ibsB]{0,2}$/)),
        (of, text) => {
          const [, digits = '', letters = ''] = /^(-?\d+) ?([A-Za-z]*)$/.exec(text) ?? [];
          const known = factors[of];
          const isKnown =
            digits !== '' &&
            (of === 'bytes'
              ? Object.keys(known).some((each) => each.toLowerCase() === letters.toLowerCase())
              : letters in known);
          if (!isKnown) expect(readQuantity(text, of), text).toBeUndefined();
        },
      ),
      { numRuns: 2000 },
    );
    for (const value of [
      1.5,
      NaN,
      Infinity,
      2 ** 53,
      null,
      undefined,
      true,
      {},
      ['1'],
      '',
      ' ',
      '1e3',
      '0x10',
      '+1',
    ]) {
      for (const of of ['bytes', 'count', 'ms'] as const) expect(readQuantity(value, of)).toBeUndefined();
    }
    // Minutes and mebibytes are both an m, and months are neither.
    expect(readQuantity('5m', 'ms')).toBe(300_000);
    expect(readQuantity('5m', 'bytes')).toBe(5_242_880);
    expect(readQuantity('5M', 'ms')).toBeUndefined();
  });
});
