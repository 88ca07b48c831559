import { readQuantity } from '../../config/units.ts';
import { exitCodes } from '../exit-codes.ts';
import { fail } from './audit-source.ts';

const dayMs = 24 * 3_600_000;

/** Reads a duration; days too, which settings do not have. `undefined`: it is none. */
export function readDuration(text: string): number | undefined {
  const [, days] = /^(\d{1,6})d$/.exec(text) ?? [];
  return days === undefined ? readQuantity(text, 'ms') : Number(days) * dayMs;
}

/** Reads a time: a date, or a duration before now. Returns milliseconds since 1970. */
export function timeOption(flag: string, text: string): number {
  const duration = /[a-z]$/.test(text) ? readDuration(text) : undefined;
  const timeMs = duration === undefined ? dateOf(text) : Date.now() - duration;
  if (timeMs === undefined)
    fail(
      exitCodes.usage,
      `${flag}: expected a date such as 2026-11-28 or 2026-11-28T12:00:00Z, or a duration such as 12h or 30d, got ${JSON.stringify(text)}`,
    );
  return Math.max(0, timeMs);
}

function dateOf(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}
