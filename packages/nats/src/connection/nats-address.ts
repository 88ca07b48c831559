import { readFileSync } from 'node:fs';
import { EngineUrlReader, shownHost } from '@spillway/core/engine';

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
  'nats://HOST:PORT/STREAM, or tls:// with TLS, with an optional USER:PASSWORD@ or TOKEN@, and several HOST:PORT with commas between them';
const urlForm = /^(nats|tls):\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^/?#]*))?\/?(?:\?([^#]*))?$/;
/** A part of a subject: what is between two dots. */
const subjectForm = /^[^\s.*>]+(?:\.[^\s.*>]+)*$/;

/** Reads the parts of a NATS's URLs. */
export const natsUrls: EngineUrlReader = new EngineUrlReader('NATS', form);

/**
 * Reads the URL of a NATS.
 *
 * @param parameters what may stand behind the question mark, beside what every connection has.
 * @throws {SpillwayError} `invalid_option`, without the password.
 */
export function readNatsUrl(url: string, parameters: readonly string[]): NatsAddress {
  const match = urlForm.exec(url);
  if (match === null) throw natsUrls.invalid();
  const [, scheme, who = '', hosts = '', path = '', search = ''] = match;
  const { user, password } = natsUrls.login(who);
  const stream = natsUrls.decoded(path) || 'spillway';
  if (!/^[^\s.*>/\\]{1,255}$/.test(stream))
    throw natsUrls.invalid('expected the name of a stream behind the host, without dots, blanks, * and >');
  const query = natsUrls.parameters(search, [...connectionParameters, ...parameters]);
  if (query.has('tls') && query.get('tls') !== '1') throw natsUrls.invalid('tls: expected 1');
  return {
    servers: hosts.split(',').map((server) => shownHost(natsUrls.host(server, 4222))),
    isTls: scheme === 'tls' || query.has('tls'),
    user: password === undefined ? undefined : user,
    password,
    token: password === undefined ? user : undefined,
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
    throw natsUrls.invalid('subject: expected words with dots between them, without blanks, * and >');
  return subject;
}

/** The content of the file that a parameter names. */
export function readFileOf({ query }: NatsAddress, name: string): Buffer | undefined {
  const path = query.get(name);
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw natsUrls.invalid(`${name}: expected a file that can be read, got ${path} (${code})`);
  }
}
