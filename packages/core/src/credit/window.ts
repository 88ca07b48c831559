import { type ErrorCode, SpillwayError } from '../errors.ts';
import type { CreditAmount, CreditOptions } from './credit-options.ts';

export const units = ['items', 'bytes', 'ms'] as const;
export type Unit = (typeof units)[number];

/** Checks and returns the maximum of each unit; `Infinity` for a unit that does not count. */
export function windowOf(options: CreditOptions): Required<CreditAmount> {
  const { maxBytes: bytes = Infinity, maxItems: items = Infinity, maxMs: ms = Infinity } = options;
  const max = { items, bytes, ms };
  if (units.every((unit) => max[unit] === Infinity)) {
    throw new SpillwayError(
      'invalid_option',
      'Credit needs a unit: expected maxItems, maxBytes, maxMs or several, got none.',
    );
  }
  for (const unit of units) {
    if (max[unit] === Infinity || (max[unit] >= 1 && (unit !== 'items' || Number.isInteger(max[unit]))))
      continue;
    throw new SpillwayError(
      'invalid_option',
      `The maximum of ${unit}: expected ${unit === 'items' ? 'a whole number, ' : ''}1 or more, got ${max[unit]}.`,
    );
  }
  return max;
}

/** Throws if a number is not a valid amount. */
export function checkAmount(unit: Unit, amount: number, code: ErrorCode): void {
  if (amount >= 0 && amount < Infinity && (unit !== 'items' || Number.isInteger(amount))) return;
  throw new SpillwayError(
    code,
    `${unit}: expected a ${unit === 'items' ? 'whole' : 'finite'} number, 0 or more, got ${amount}.`,
  );
}
