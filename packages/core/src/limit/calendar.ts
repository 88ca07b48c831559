const minuteMs = 60_000;
const dayMs = 86_400_000;

/**
 * Returns the minute, day or month by UTC that a date is in: from the first of both on, before the second. All in milliseconds
 * since 1970.
 */
export function calendarBounds(
  window: 'day' | 'minute' | 'month',
  dateMs: number,
): [startMs: number, endMs: number] {
  if (window === 'month') {
    const date = new Date(dateMs);
    const month = (after: number): number => Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + after);
    return [month(0), month(1)];
  }
  const lengthMs = window === 'minute' ? minuteMs : dayMs;
  const startMs = Math.floor(dateMs / lengthMs) * lengthMs;
  return [startMs, startMs + lengthMs];
}
