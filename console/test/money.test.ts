import { expect, test } from 'vitest';
import { moneyText } from '../src/money.ts';

test.each([
  [0, '0.00 EUR'],
  [1, '0.000001 EUR'],
  [1875, '0.0019 EUR'],
  [20_000, '0.02 EUR'],
  [1_500_000, '1.50 EUR'],
  [12_345_678_000, '12,345.68 EUR'],
])('%i millionths are %s', (millionths, text) => {
  expect(moneyText(millionths, 'EUR')).toBe(text);
  expect(moneyText(millionths, '')).toBe(text.replace(' EUR', ''));
});
