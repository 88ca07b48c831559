/** A rate of requests, as settings have it. */
export interface ShownRate {
  readonly perSecond: number;
  readonly burst: number;
}

const units = [
  { seconds: 1, short: 's', long: 'second' },
  { seconds: 60, short: 'min', long: 'minute' },
  { seconds: 3600, short: 'h', long: 'hour' },
] as const;

/** The number and unit of a rate, as somebody would write it: the unit of which its burst is the number, or a whole number. */
function writtenRate({ burst, perSecond }: ShownRate): {
  readonly count: number;
  readonly unit: (typeof units)[number];
} {
  const all = units.map((unit) => ({ count: Number((perSecond * unit.seconds).toPrecision(12)), unit }));
  const whole = all.find(({ count }) => count === burst) ?? all.find(({ count }) => Number.isInteger(count));
  return whole ?? { count: perSecond, unit: units[0] };
}

/** A rate as a setting has it: `4/min`, `10/s burst 3`. */
export function rateText(rate: ShownRate): string {
  const { count, unit } = writtenRate(rate);
  return `${count}/${unit.short}${count === rate.burst ? '' : ` burst ${rate.burst}`}`;
}

/** A rate in a sentence: `4 requests a minute`, `10 requests a second, 3 at once`. */
export function rateWords(rate: ShownRate): string {
  const { count, unit } = writtenRate(rate);
  const article = unit.short === 'h' ? 'an' : 'a';
  const atOnce = count === rate.burst ? '' : `, ${rate.burst} at once`;
  return `${count} ${count === 1 ? 'request' : 'requests'} ${article} ${unit.long}${atOnce}`;
}
