import { z } from 'zod';
import type { NameSource } from './limits.ts';
import { count, list, text, unbounded } from './values.ts';

/** A token bucket of requests. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

const secondsOf = { s: 1, min: 60, h: 3600 } as const;
const maxRequests = 1_000_000;

/**
 * Reads `10/s`, `600/min`, `100/h` or `10/s burst 20`; `undefined`: it is none. Without a burst, as many may come at once as
 * the rate has. Behind a key, where a space would end it, `+` stands for it: `10/s+burst+20`.
 */
export function readRate(value: string): Rate | undefined {
  const [, number, unit, burst = number] =
    /^(\d{1,7}) ?\/ ?(s|min|h)(?:[ +]burst[ +](\d{1,7}))?$/.exec(value) ?? [];
  if (unit === undefined) return undefined;
  const [requests, atOnce] = [Number(number), Number(burst)];
  if (requests < 1 || requests > maxRequests || atOnce < 1 || atOnce > maxRequests) return undefined;
  return { perSecond: requests / secondsOf[unit as keyof typeof secondsOf], burst: atOnce };
}

/** Money has so many digits behind its point at most: a millionth is the least. */
const moneyDigits = 6;

/** Reads an amount of money as text, `12.50`, in millionths; `undefined`: it is none. It never was a fraction. */
export function readMoney(value: string): number | undefined {
  const [, whole, fraction = ''] = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(value) ?? [];
  return whole === undefined ? undefined : Number(whole + fraction.padEnd(moneyDigits, '0'));
}

/** Reads a day, `2026-01-31`, as its beginning by UTC in milliseconds since 1970; `undefined`: there is no such day. */
export function readDay(value: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(value)) return undefined;
  const dateMs = Date.parse(`${value}T00:00:00Z`);
  // The 30th of February is read as a day of March.
  return Number.isNaN(dateMs) || writeDay(dateMs) !== value ? undefined : dateMs;
}

/** The day of a time by UTC, as {@link readDay} reads it. */
function writeDay(dateMs: number): string {
  return new Date(dateMs).toISOString().slice(0, 10);
}

/** The texts below stay texts, so that `spillway config` prints what was written. */
export const rate = text.refine(
  (value) => readRate(value) !== undefined,
  'expected requests in a time, as 10/s, 600/min or 10/s burst 20, with numbers from 1 to 1000000',
);

/** An amount of money. YAML makes a number of it, whose shortest text is what was written, but for zeros at its end. */
export const money = z
  .union([z.string(), z.number().transform(String)], { error: 'expected an amount, as 12.50' })
  .refine(
    (value) => readMoney(value) !== undefined,
    'expected an amount, as 12.50, with at most six digits behind the point',
  );

export const day = text.refine((value) => readDay(value) !== undefined, 'expected a day, as 2026-01-31');

/** A limit of 0 would be none to some, and all to others. */
const cost = money.refine((value) => readMoney(value) !== 0, 'expected an amount above 0, as 12.50');

const tokens = count(1, unbounded);
/** A pace: more is no limit to any model. */
const pace = count(1, 1_000_000);

/** What a tenant and a key may have, as settings. */
export const scopeShape = {
  requests: rate
    .optional()
    .describe(
      'requests in a time: 10/s, 600/min, 100/h, or 10/s burst 20 with how many may come at once (behind a key 10/s+burst+20); default of the burst: the number of the rate',
    ),
  streams: count(1, 1_000_000)
    .optional()
    .describe('streams at once; one more waits as for maxStreams, then the answer is 429'),
  tokensPerMinute: tokens.optional().describe('tokens of prompts and answers in a minute, by UTC'),
  tokensPerDay: tokens.optional().describe('tokens of prompts and answers in a day, by UTC'),
  tokensPerMonth: tokens.optional().describe('tokens of prompts and answers in a month, by UTC'),
  costPerDay: cost.optional().describe('what tokens may cost in a day, by UTC, as 12.50; needs price'),
  costPerMonth: cost.optional().describe('what tokens may cost in a month, by UTC; needs price'),
  tokensPerSecond: pace
    .optional()
    .describe(
      'the pace of all its streams together, in tokens of answers: they are slowed, and none is refused',
    ),
};

const scopeSchema = z.strictObject(scopeShape);

/** The limits of a scope as they were written. */
export type WrittenLimits = z.infer<typeof scopeSchema>;

/** More of one answer or one user than of a scope. */
export const limitNumbers = { pace, tokens };

/** Reads `header:NAME` or `body:NAME.NAME`; `undefined`: it is neither. */
export function readNameSource(value: string): NameSource | undefined {
  const [, header, body] =
    /^(?:header:([\w!#$%&'*+.^`|~-]{1,100})|body:([\w-]+(?:\.[\w-]+){0,7}))$/.exec(value) ?? [];
  if (header !== undefined) return { kind: 'header', name: header.toLowerCase() };
  return body === undefined ? undefined : { kind: 'body', path: body.split('.') };
}

export const nameSources = list.pipe(
  z.array(
    z
      .string()
      .refine(
        (value) => readNameSource(value) !== undefined,
        'expected header:NAME, or body:NAME with points between the names on the way',
      ),
  ),
);

const redisForm = String.raw`(?:rediss?:\/\/|rediss?\+sentinel:\/\/)[^\s]+`;
const redisForms = 'redis://HOST:PORT, rediss://HOST:PORT or redis+sentinel://HOST:PORT,HOST:PORT/NAME';
/** A password would be printed with the settings, so it stands elsewhere. */
const passwordForm = /^[^/]+:\/\/(?:.*[?#]|.*[:/].*@)/;

function withoutPassword(setting: string): string {
  return `expected a URL without a password and without ? and # (a password goes into ${setting}PasswordEnv or ${setting}PasswordFile)`;
}

/** Where limits are kept. */
export const storeUrl = text
  .regex(new RegExp(`^(?:file:.+|${redisForm})$`), `expected file:PATH, ${redisForms}`)
  .refine((value) => value.startsWith('file:') || !passwordForm.test(value), {
    error: withoutPassword('limitStore'),
  });

/** Where clients' keys are kept for several gateways. */
export const keyStoreUrl = text
  .regex(new RegExp(`^(?:limitStore|${redisForm})$`), `expected ${redisForms}, or the word limitStore`)
  .refine((value) => !passwordForm.test(value), { error: withoutPassword('apiKeysStore') });
