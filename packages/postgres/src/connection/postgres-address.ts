import { isIP } from 'node:net';
import { SpillwayError } from '@spillway/core';

/** One server. A host that begins with `/` is the folder of a Unix socket. */
export interface PostgresHost {
  readonly host: string;
  readonly port: number;
}

/** Where PostgreSQL is, who asks, and what else the URL says. */
export interface PostgresAddress {
  /** One or more: the first one that takes writes is used. */
  readonly hosts: readonly PostgresHost[];
  /** `undefined`: `PGUSER`, or the system's user. */
  readonly user: string | undefined;
  /** `undefined`: `PGPASSWORD`, or `PGPASSFILE`. */
  readonly password: string | undefined;
  /** `undefined`: `PGDATABASE`, or the user's name. */
  readonly database: string | undefined;
  /** The URL's query: known names, each once. */
  readonly parameters: ReadonlyMap<string, string>;
}

const form = 'postgres://USER:PASSWORD@HOST:PORT/DATABASE?table=NAME';
const urlForm = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/i;
const hostForm = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/;

/** The parameters of the URL. Those of libpq mean what they mean there. */
const known: readonly string[] = [
  'application_name',
  'create',
  'host',
  'json',
  'sslcert',
  'sslkey',
  'sslmode',
  'sslrootcert',
  'table',
];

/**
 * Reads a URL as libpq does, with its environment for what is left out. Nothing is handed to `new URL`, whose errors carry
 * the whole text, with the password.
 *
 * @throws {SpillwayError} `invalid_option`, without secrets.
 */
export function readPostgresUrl(url: string): PostgresAddress {
  const match = urlForm.exec(url);
  if (match === null)
    throw invalidUrl(`expected ${form}, with @ : / ? # % in user and password written as %40 and so on`);
  const [, login = '', hosts = '', database = '', query = ''] = match;
  const parameters = readParameters(query);
  const elsewhere = parameters.get('host');
  if (hosts !== '' && elsewhere !== undefined)
    throw invalidUrl('expected a host before the path or as host=, got both');
  const colon = login.indexOf(':');
  return {
    hosts: hosts === '' ? hostsNamed(elsewhere ?? process.env['PGHOST']) : hosts.split(',').map(readHost),
    user: decoded(colon === -1 ? login : login.slice(0, colon)) || undefined,
    password: colon === -1 ? undefined : decoded(login.slice(colon + 1)),
    database: decoded(database) || undefined,
    parameters,
  };
}

/** The address for people: without who asks. */
export function shownAddress({ database, hosts }: PostgresAddress): string {
  const shown = hosts.map(({ host, port }) => `${shownHost(host)}:${port}`).join(',');
  return `postgres://${shown}/${encodeURIComponent(database ?? process.env['PGDATABASE'] ?? '')}`;
}

function shownHost(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : encodeURIComponent(host);
}

/** As `host=` and `PGHOST` have them: without ports. */
function hostsNamed(text: string | undefined): PostgresHost[] {
  return (text || 'localhost').split(',').map((host) => ({ host, port: defaultPort() }));
}

function readHost(text: string): PostgresHost {
  const [, address, name, port] = hostForm.exec(text) ?? [];
  const host = address ?? decoded(name ?? '');
  if (host === '' || Number(port) > 65_535)
    throw invalidUrl(`expected HOST:PORT, more with commas between them, got ${text}`);
  return { host, port: port === undefined ? defaultPort() : Number(port) };
}

function defaultPort(): number {
  const port = Number(process.env['PGPORT'] || 5432);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw invalidUrl('expected the number of a port in PGPORT');
}

function readParameters(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const equals = pair.indexOf('=');
    const name = decoded(equals === -1 ? pair : pair.slice(0, equals));
    // A value may be a password with a wrong name, and is not quoted.
    if (!known.includes(name))
      throw invalidUrl(`expected one of the parameters ${known.join(', ')}, got ${name}`);
    if (equals === -1 || parameters.has(name)) throw invalidUrl(`expected ${name}=VALUE once`);
    parameters.set(name, decoded(pair.slice(equals + 1)));
  }
  return parameters;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidUrl('expected % to begin a character in base 16, also in user and password');
  }
}

/** An error of the URL, which has to be without secrets. */
export function invalidUrl(expected: string): SpillwayError {
  return new SpillwayError('invalid_option', `url of PostgreSQL: ${expected}.`);
}
