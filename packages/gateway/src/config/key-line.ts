import { z } from 'zod';
import { isKeyName } from './api-key.ts';
import { readDay, scopeShape, type WrittenLimits } from './limit-values.ts';

/** A line of a file of keys that has a digest. */
export interface KeyLine {
  readonly name: string;
  readonly digest: Buffer;
  readonly limits: WrittenLimits;
  /** Dates in milliseconds since 1970. */
  readonly createdMs?: number | undefined;
  readonly expiresMs?: number | undefined;
  readonly revokedMs?: number | undefined;
}

export const keyNameWords =
  'of lower-case letters, digits, ".", "_" and "-" that begins with a letter or digit, 64 at most (or TENANT/NAME)';

const dayMs = 86_400_000;

/** Reads `2026-12-31T12:00:00Z`, or `2026-12-31` as the end of that day by UTC; `undefined`: there is no such time. */
export function readDate(value: string): number | undefined {
  const begin = readDay(value);
  if (begin !== undefined) return begin + dayMs;
  const [, day = '', rest = ''] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d{3})?Z)$/.exec(value) ?? [];
  const dateMs = Date.parse(`${day}T${rest}`);
  return readDay(day) === undefined || Number.isNaN(dateMs) ? undefined : dateMs;
}

/** A time as {@link readDate} reads it: as a day where it is the end of one. */
export function writeDate(dateMs: number): string {
  if (dateMs % dayMs === 0) return new Date(dateMs - dayMs).toISOString().slice(0, 10);
  return new Date(dateMs).toISOString().replace('.000Z', 'Z');
}

const date = z
  .string()
  .refine(
    (value) => readDate(value) !== undefined,
    'expected a day or a time by UTC, as 2026-12-31 or 2026-12-31T12:00:00Z',
  )
  .transform((value) => readDate(value))
  .optional();

const moreSchema = z.strictObject({ ...scopeShape, created: date, expires: date, revoked: date });

/**
 * Reads `NAME sha256:DIGEST`, and behind it words as `streams=20` and `expires=2026-12-31`, in any order. A problem says
 * nothing of the line but names of limits: all else could be a part of a key.
 */
export function readKeyLine(line: string): KeyLine | { readonly problem: string } {
  const [name = '', hex = '', ...words] = line.trim().split(/\s+/);
  const [, digits] = /^sha256:([\da-f]{64})$/i.exec(hex) ?? [];
  if (!isKeyName(name) || digits === undefined) {
    return {
      problem: `expected KEY, NAME=KEY or "NAME sha256:DIGEST" with a name ${keyNameWords} and 64 hexadecimal digits, got something else`,
    };
  }
  const pairs = words.map((word): [string, string] => {
    const at = word.indexOf('=');
    return at === -1 ? ['', ''] : [word.slice(0, at), word.slice(at + 1)];
  });
  const keys = pairs.map(([key]) => key);
  if (keys.some((key) => !Object.hasOwn(moreSchema.shape, key)) || new Set(keys).size < keys.length) {
    const known = Object.keys(moreSchema.shape).join(', ');
    return {
      problem: `expected only ${known} behind the digest, each once as KEY=VALUE with + for a space in it, got something else`,
    };
  }
  const result = moreSchema.safeParse(Object.fromEntries(pairs));
  if (!result.success) {
    const [issue] = result.error.issues;
    return { problem: `${issue?.path.join('.')}: ${issue?.message}, got something else` };
  }
  const { created, expires, revoked, ...limits } = result.data;
  return {
    name,
    digest: Buffer.from(digits, 'hex'),
    limits,
    createdMs: created,
    expiresMs: expires,
    revokedMs: revoked,
  };
}

/** A key as a line of a file. {@link readKeyLine} reads the same from it. */
export function writeKeyLine({ createdMs, digest, expiresMs, limits, name, revokedMs }: KeyLine): string {
  const dates = { created: createdMs, expires: expiresMs, revoked: revokedMs };
  return [
    name,
    `sha256:${digest.toString('hex')}`,
    ...limitWords(limits),
    ...Object.entries(dates).flatMap(([key, dateMs]) =>
      dateMs === undefined ? [] : [`${key}=${writeDate(dateMs)}`],
    ),
  ].join(' ');
}

/** Limits as `streams=20`, in the order of the settings. A space within one is a `+`. */
export function limitWords(limits: WrittenLimits): string[] {
  return Object.keys(scopeShape).flatMap((key) => {
    const value = limits[key as keyof WrittenLimits];
    return value === undefined
      ? []
      : [
          `${key}=${String(value)
            .replaceAll(/ ?\/ ?/g, '/')
            .replaceAll(' ', '+')}`,
        ];
  });
}
