import { readFileSync } from 'node:fs';
import { SpillwayError } from '@spillway/core';

/** Where a NATS is, who asks, and which stream of JetStream is meant. */
export interface NatsAddress {
  /** `HOST:PORT` each: servers of one cluster. At least one. */
  readonly servers: readonly string[];
  readonly isTls: boolean;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** `nats://TOKEN@HOST`, as in NATS's own tools. */
  readonly token: string | undefined;
  /** The stream of JetStream. */
  readonly stream: string;
  /** What stands behind the question mark: those that were asked for, and no others. */
  readonly query: ReadonlyMap<string, string>;
}

/** How a connection is made: these every URL may have. */
const connectionParameters = ['creds', 'domain', 'nkey', 'timeoutMs', 'tls', 'tlsca', 'tlscert', 'tlskey'];
const form =
  'expected nats://HOST:PORT/STREAM, or tls:// with TLS, with an optional USER:PASSWORD@ or TOKEN@, and several HOST:PORT with commas between them';
const urlForm = /^(nats|tls):\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^/?#]*))?\/?(?:\?([^#]*))?$/;
const serverForm = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i;
/** A part of a subject: what is between two dots. */
const subjectForm = /^[^\s.*>]+(?:\.[^\s.*>]+)*$/;

/**
 * Reads the URL of a NATS. A reader of our own: several hosts are no URL to `new URL`, whose errors carry the whole text,
 * with the password.
 *
 * @param parameters what may stand behind the question mark, beside what every connection has.
 * @throws {SpillwayError} `invalid_option`, without the password.
 */
export function readNatsUrl(url: string, parameters: readonly string[]): NatsAddress {
  const match = urlForm.exec(url);
  if (match === null) throw invalidUrl(form);
  const [, scheme, who, hosts = '', path = '', search = ''] = match;
  const colon = who?.indexOf(':') ?? -1;
  const name =
    who === undefined || who === '' ? undefined : decoded(colon === -1 ? who : who.slice(0, colon));
  const stream = decoded(path) || 'spillway';
  if (!/^[^\s.*>/\\]{1,255}$/.test(stream))
    throw invalidUrl('expected the name of a stream behind the host, without dots, blanks, * and >');
  const query = readQuery(search, [...connectionParameters, ...parameters]);
  if (query.has('tls') && query.get('tls') !== '1') throw invalidUrl('tls: expected 1');
  return {
    servers: hosts.split(',').map(readServer),
    isTls: scheme === 'tls' || query.has('tls'),
    user: colon === -1 ? undefined : name,
    password: colon === -1 ? undefined : decoded((who ?? '').slice(colon + 1)),
    token: colon === -1 ? name : undefined,
    stream,
    query,
  };
}

/** The address for people: without who asks. */
export function shownAddress({ isTls, servers, stream }: NatsAddress): string {
  return `${isTls ? 'tls' : 'nats'}://${servers.join(',')}/${stream}`;
}

/** The subject that a URL names, or the one that it has without. */
export function readSubject({ query }: NatsAddress, otherwise: string): string {
  const subject = query.get('subject') ?? otherwise;
  if (!subjectForm.test(subject))
    throw invalidUrl('subject: expected words with dots between them, without blanks, * and >');
  return subject;
}

/** A whole number of the URL. */
export function readWhole(
  { query }: NatsAddress,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const text = query.get(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw invalidUrl(`${name}: expected a whole number from ${least} to ${most}, got ${text.slice(0, 30)}`);
  return value;
}

/** The content of the file that a parameter names. */
export function readFileOf({ query }: NatsAddress, name: string): Buffer | undefined {
  const path = query.get(name);
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw invalidUrl(`${name}: expected a file that can be read, got ${path} (${code})`);
  }
}

function readServer(text: string): string {
  const [, host, port = '4222'] = serverForm.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) throw invalidUrl(form);
  return `${host}:${port}`;
}

function readQuery(search: string, known: readonly string[]): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const pair of search.split('&')) {
    if (pair === '') continue;
    const [name = '', ...rest] = pair.split('=');
    const value = decoded(rest.join('='));
    if (!known.includes(name))
      throw invalidUrl(`${name.slice(0, 30)} is no parameter here; nearest: ${nearestTo(name, known)}`);
    if (value === '' || query.has(name)) throw invalidUrl(`${name}: expected one value`);
    query.set(name, value);
  }
  return query;
}

function nearestTo(name: string, known: readonly string[]): string {
  const distances = known.map((other) => [distance(name.toLowerCase(), other.toLowerCase()), other] as const);
  return distances.toSorted(([one], [other]) => one - other)[0]?.[1] ?? 'none';
}

/** How many letters have to be changed, added or removed. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const swapped = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidUrl('expected % to begin a character in base 16, also in user and password');
  }
}

function invalidUrl(expected: string): SpillwayError {
  return new SpillwayError('invalid_option', `url of NATS: ${expected}.`);
}
