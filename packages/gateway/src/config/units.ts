/**
 * The unit of a number among the settings. A setting's name ends with its unit: `windowBytes`,
 * `stallTimeoutMs`. Without one it is a count.
 */
export type Unit = 'bytes' | 'count' | 'ms';

/** The numbers that a setting takes. */
export interface Range {
  readonly unit: Unit;
  readonly min: number;
  /** Default: the largest number that is exact. */
  readonly max: number;
}

/**
 * Letters alone and those with `i` are powers of 1024, as in nginx, HAProxy, systemd and Docker. With a `B`
 * alone they are the powers of 1000 of the SI. Upper and lower case mean the same.
 */
const byteUnits: ReadonlyMap<string, number> = new Map(
  ['', 'k', 'm', 'g'].flatMap((letter, power): [string, number][] =>
    letter === ''
      ? [['b', 1]]
      : [
          [letter, 1024 ** power],
          [`${letter}i`, 1024 ** power],
          [`${letter}ib`, 1024 ** power],
          [`${letter}b`, 1000 ** power],
        ],
  ),
);

const msUnits: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/**
 * Reads a number with its unit from any of the three spellings: a number, or a text such as `64KiB` or `30s`.
 * `undefined`: it is none, or no whole one.
 */
export function readQuantity(value: unknown, unit: Unit): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const [, digits, letters = ''] = /^(-?\d+) ?([a-z]*)$/i.exec(value) ?? [];
  const factor = letters === '' ? 1 : factorOf(letters, unit);
  if (digits === undefined || factor === undefined) return undefined;
  const number = Number(digits) * factor;
  return Number.isSafeInteger(number) ? number : undefined;
}

function factorOf(letters: string, unit: Unit): number | undefined {
  if (unit === 'bytes') return byteUnits.get(letters.toLowerCase());
  return unit === 'ms' ? msUnits.get(letters) : undefined;
}

/** Writes a number with the largest unit that divides it. `readQuantity` reads the same number from it. */
export function writeQuantity(number: number, unit: Unit): string {
  const units: readonly (readonly [string, number])[] =
    unit === 'bytes'
      ? [
          ['GiB', 1024 ** 3],
          ['MiB', 1024 ** 2],
          ['KiB', 1024],
        ]
      : [...msUnits].toReversed();
  const [name, factor] = units.find(([, each]) => number % each === 0) ?? ['', 1];
  return unit === 'count' || number === 0 ? String(number) : `${number / factor}${name}`;
}

/** Writes a setting's value as users do; empty for a list, and if there is none. */
export function writeValue(value: unknown, range: Range | undefined): string {
  if (typeof value === 'number') return writeQuantity(value, range?.unit ?? 'count');
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : '';
}

/** What a setting takes, for messages and documents. */
export function describeRange({ unit, min, max }: Range): string {
  const write = (number: number): string => writeQuantity(number, unit);
  const range =
    max === Number.MAX_SAFE_INTEGER ? `of at least ${write(min)}` : `from ${write(min)} to ${write(max)}`;
  return `${nouns[unit]} ${range}`;
}

const nouns: Readonly<Record<Unit, string>> = {
  bytes: 'a size',
  count: 'a whole number',
  ms: 'a duration',
};

/** Examples of how a number with its unit is written. */
export const quantityExamples: Readonly<Record<Unit, string>> = {
  bytes: '65536, 64k, 64KiB or 16MiB',
  count: '10',
  ms: '250ms, 30s, 5m, 1h or a number of milliseconds',
};
