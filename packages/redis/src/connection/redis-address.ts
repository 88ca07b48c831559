import { SpillwayError } from '@spillway/core';

/** Where a Redis is, and who asks. */
export interface RedisAddress {
  /** The server; with `master`, the sentinels that know where it is. */
  readonly nodes: readonly [RedisNode, ...RedisNode[]];
  /** The name under which sentinels know the master. */
  readonly master: string | undefined;
  readonly isTls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
}

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

const forms =
  'expected redis://HOST:PORT, rediss://HOST:PORT with TLS, or redis+sentinel://HOST:PORT,HOST:PORT/NAME, each with an optional USER:PASSWORD@ and /DATABASE';
const urlForm = /^redis(s?)(\+sentinel)?:\/\/(?:([^@/]*)@)?([^@/]+)(?:\/([^/]*))?(?:\/([^/]*))?\/?$/;
const nodeForm = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i;

/**
 * Reads the URL of a Redis. A reader of our own: several hosts are no URL to `new URL`, whose errors carry the whole text, with
 * the password.
 *
 * @throws {SpillwayError} `invalid_option`, without the password.
 */
export function readRedisUrl(url: string): RedisAddress {
  const match = urlForm.exec(url);
  if (match === null) throw invalidUrl(forms);
  const [, tls, sentinel, user = '', hosts = '', first = '', second = ''] = match;
  const isSentinel = sentinel !== undefined;
  const colon = user.indexOf(':');
  const master = isSentinel ? decoded(first) : undefined;
  if (master === '') throw invalidUrl('expected the name of the master behind the hosts of its sentinels');
  if (!isSentinel && (second !== '' || hosts.includes(','))) throw invalidUrl(forms);
  const defaultPort = isSentinel ? 26_379 : 6379;
  const [node = '', ...others] = hosts.split(',');
  return {
    nodes: [readNode(node, defaultPort), ...others.map((other) => readNode(other, defaultPort))],
    master,
    isTls: tls === 's',
    username: decoded(colon === -1 ? user : user.slice(0, colon)) || undefined,
    password: colon === -1 ? undefined : decoded(user.slice(colon + 1)),
    database: readDatabase(isSentinel ? second : first),
  };
}

/** The address for people: without who asks. */
export function shownAddress({ isTls, master, nodes }: RedisAddress): string {
  const hosts = nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
  const scheme = isTls ? 'rediss' : 'redis';
  return master === undefined ? `${scheme}://${hosts}` : `${scheme}+sentinel://${hosts}/${master}`;
}

function readNode(text: string, defaultPort: number): RedisNode {
  const [, host, port] = nodeForm.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) throw invalidUrl(forms);
  return { host: host.replace(/^\[|\]$/g, ''), port: port === undefined ? defaultPort : Number(port) };
}

function readDatabase(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw invalidUrl('expected the number of a database');
  return Number(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidUrl('expected % to begin a character in base 16, also in user and password');
  }
}

function invalidUrl(expected: string): SpillwayError {
  return new SpillwayError('invalid_option', `url of Redis: ${expected}.`);
}
