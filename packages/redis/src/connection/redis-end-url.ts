import { readRedisUrl, type RedisAddress, redisUrls } from './redis-address.ts';

/** A URL's address, and what its query says. */
export interface RedisEndUrl {
  readonly address: RedisAddress;
  /** The key of the stream. */
  readonly key: string;
  /** The parameters, by name. */
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
  const parameters = redisUrls.parameters(mark === -1 ? '' : url.slice(mark + 1), ['stream', ...names]);
  const key = parameters.get('stream') ?? 'spillway';
  if (key.length > 512) throw redisUrls.invalid('stream: expected a key of 1 to 512 characters');
  return { address, key, parameters };
}

/** A duration of a URL in milliseconds; `undefined`: it is not there. */
export function durationOf({ parameters }: RedisEndUrl, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (durationMs[unit] ?? Number.NaN);
  if (!(ms >= 1000 && ms <= maxDurationMs))
    throw redisUrls.invalid(`${name}: expected a duration from 1s to 365d, such as 90m or 24h`);
  return ms;
}

/** What goes together with a stream has a key of its own, at the same place of a cluster. */
export function keyBeside(key: string, name: string): string {
  return /[{}]/.test(key) ? `${key}:${name}` : `{${key}}:${name}`;
}
