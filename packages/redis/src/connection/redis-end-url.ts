import { SpillwayError } from '@spillway/core';
import { readRedisUrl, type RedisAddress } from './redis-address.ts';

/** A URL's address, and what its query says. */
export interface RedisEndUrl {
  readonly address: RedisAddress;
  /** The key of the stream. */
  readonly key: string;
  /** The other parameters, by name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const durationMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const maxDurationMs = 31_536_000_000;

/**
 * Reads the URL of an end of a stream: that of a Redis, and behind `?` the parameters. A `?` in a password is `%3F`.
 *
 * @param names the parameters that are known, beside `stream`.
 * @throws {SpillwayError} `invalid_option`, without values and passwords.
 */
export function readRedisEndUrl(url: string, names: readonly string[]): RedisEndUrl {
  const mark = url.indexOf('?');
  const address = readRedisUrl(mark === -1 ? url : url.slice(0, mark));
  const known = ['stream', ...names];
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1))) {
    if (!known.includes(name)) throw invalid(unknownParameter(name, known));
    if (parameters.has(name)) throw invalid(`expected ${name} once`);
    parameters.set(name, value);
  }
  const key = parameters.get('stream') ?? 'spillway';
  parameters.delete('stream');
  if (key === '' || key.length > 512) throw invalid('stream: expected a key of 1 to 512 characters');
  return { address, key, parameters };
}

/** A whole number of a URL; `undefined`: it is not there. */
export function countOf(
  { parameters }: RedisEndUrl,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most))
    throw invalid(`${name}: expected a whole number from ${least} to ${most}`);
  return value;
}

/** A duration of a URL in milliseconds; `undefined`: it is not there. */
export function durationOf({ parameters }: RedisEndUrl, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (durationMs[unit] ?? Number.NaN);
  if (!(ms >= 1000 && ms <= maxDurationMs))
    throw invalid(`${name}: expected a duration from 1s to 365d, such as 90m or 24h`);
  return ms;
}

/** What goes together with a stream has a key of its own, at the same place of a cluster. */
export function keyBeside(key: string, name: string): string {
  return /[{}]/.test(key) ? `${key}:${name}` : `{${key}}:${name}`;
}

function unknownParameter(name: string, known: readonly string[]): string {
  const [nearest] = known.toSorted((one, other) => distance(name, one) - distance(name, other));
  return `expected the parameters ${known.join(', ')}, got ${name.slice(0, 32)}: did you mean ${nearest}?`;
}

/** How many letters have to change. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [at, letter] of Array.from(one.slice(0, 32)).entries()) {
    const next = [at + 1];
    for (let column = 1; column <= other.length; column += 1) {
      const changed = (row[column - 1] ?? 0) + (letter === other[column - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}

function invalid(expected: string): SpillwayError {
  return new SpillwayError('invalid_option', `url of Redis: ${expected}.`);
}
