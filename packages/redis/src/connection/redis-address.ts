import { type EngineHost, EngineUrlReader, shownHost } from '@spillway/core/engine';

/** Where a Redis is, and who asks. */
export interface RedisAddress {
  /** The server; with `master`, the sentinels that know where it is. */
  readonly nodes: readonly [EngineHost, ...EngineHost[]];
  /** The name under which sentinels know the master. */
  readonly master: string | undefined;
  readonly isTls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
}

const form =
  'redis://HOST:PORT, rediss://HOST:PORT with TLS, or redis+sentinel://HOST:PORT,HOST:PORT/NAME, each with an optional USER:PASSWORD@ and /DATABASE';
const urlForm = /^redis(s?)(\+sentinel)?:\/\/(?:([^@/]*)@)?([^@/]+)(?:\/([^/]*))?(?:\/([^/]*))?\/?$/;

/** Reads the URLs of a Redis, and of what is kept there. */
export const redisUrls: EngineUrlReader = new EngineUrlReader('Redis', form);

/**
 * Reads the URL of a Redis.
 *
 * @throws {SpillwayError} `invalid_option`, without the password.
 */
export function readRedisUrl(url: string): RedisAddress {
  const match = urlForm.exec(url);
  if (match === null) throw redisUrls.invalid();
  const [, tls, sentinel, user = '', hosts = '', first = '', second = ''] = match;
  const isSentinel = sentinel !== undefined;
  const login = redisUrls.login(user);
  const master = isSentinel ? redisUrls.decoded(first) : undefined;
  if (master === '')
    throw redisUrls.invalid('expected the name of the master behind the hosts of its sentinels');
  if (!isSentinel && (second !== '' || hosts.includes(','))) throw redisUrls.invalid();
  const defaultPort = isSentinel ? 26_379 : 6379;
  const [node = '', ...others] = hosts.split(',');
  return {
    nodes: [redisUrls.host(node, defaultPort), ...others.map((other) => redisUrls.host(other, defaultPort))],
    master,
    isTls: tls === 's',
    username: login.user,
    password: login.password,
    database: readDatabase(isSentinel ? second : first),
  };
}

/** The address for people: without who asks, and with the database where it is not the first. */
export function shownAddress({ database, isTls, master, nodes }: RedisAddress): string {
  const hosts = nodes.map(shownHost).join(',');
  const scheme = isTls ? 'rediss' : 'redis';
  const behind = database === 0 ? '' : `/${database}`;
  return `${master === undefined ? `${scheme}://${hosts}` : `${scheme}+sentinel://${hosts}/${master}`}${behind}`;
}

function readDatabase(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw redisUrls.invalid('expected the number of a database');
  return Number(text);
}
