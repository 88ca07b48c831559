import { isIP } from 'node:net';
import { type EngineHost, EngineUrlReader } from '@spillway/core/engine';

/** Where PostgreSQL is, who asks, and what else the URL says. */
export interface PostgresAddress {
  /** One or more: the first one that takes writes is used. A host that begins with `/` is the folder of a Unix socket. */
  readonly hosts: readonly EngineHost[];
  /** `undefined`: `PGUSER`, or the system's user. */
  readonly user: string | undefined;
  /** `undefined`: `PGPASSWORD`, or `PGPASSFILE`. */
  readonly password: string | undefined;
  /** `undefined`: `PGDATABASE`, or the user's name. */
  readonly database: string | undefined;
  /** The URL's query: known names, each once. */
  readonly parameters: ReadonlyMap<string, string>;
}

const form =
  'postgres://USER:PASSWORD@HOST:PORT/DATABASE?table=NAME, with @ : / ? # % in user and password written as %40 and so on';
const urlForm = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/i;

/** Reads the URLs of PostgreSQL. */
export const postgresUrls: EngineUrlReader = new EngineUrlReader('PostgreSQL', form);

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
  if (match === null) throw postgresUrls.invalid();
  const [, login = '', hosts = '', database = '', query = ''] = match;
  const parameters = postgresUrls.parameters(query, known);
  const elsewhere = parameters.get('host');
  if (hosts !== '' && elsewhere !== undefined)
    throw postgresUrls.invalid('expected a host before the path or as host=, got both');
  return {
    hosts: hosts === '' ? hostsNamed(elsewhere ?? process.env['PGHOST']) : hosts.split(',').map(readHost),
    ...postgresUrls.login(login),
    database: postgresUrls.decoded(database) || undefined,
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
function hostsNamed(text: string | undefined): EngineHost[] {
  return (text || 'localhost').split(',').map((host) => ({ host, port: defaultPort() }));
}

function readHost(text: string): EngineHost {
  const { host, port } = postgresUrls.host(text, defaultPort());
  // The folder of a socket has its slashes as %2F.
  return { host: postgresUrls.decoded(host), port };
}

function defaultPort(): number {
  const port = Number(process.env['PGPORT'] || 5432);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw postgresUrls.invalid('expected the number of a port in PGPORT');
}
