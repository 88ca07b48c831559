import { readFileSync } from 'node:fs';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { type EngineHost, EngineUrlReader, shownHost } from '@spillway/core/engine';

/** Who asks, and how it proves that. */
interface KafkaLogin {
  readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';
  readonly username: string;
  readonly password: string;
}

/** Where a topic is, and who asks. */
export interface KafkaAddress {
  /** Any of a cluster's brokers: they know the others. */
  readonly hosts: readonly [EngineHost, ...EngineHost[]];
  readonly topic: string;
  readonly tls: TlsOptions | undefined;
  readonly login: KafkaLogin | undefined;
  /** The parameters behind the topic that are not about the connection. */
  readonly parameters: ReadonlyMap<string, string>;
}

const form =
  'kafka://HOST:PORT,HOST:PORT/TOPIC, or kafkas:// with TLS, each with an optional USER:PASSWORD@ and ?NAME=VALUE';
const urlForm = /^kafka(s?):\/\/(?:([^@/?]*)@)?([^@/?]+)\/([^/?#]*)(?:\?([^#]*))?$/;
const defaultPort = 9092;
const connectionParameters = ['ca', 'cert', 'key', 'sasl', 'tls'] as const;
const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

/** Reads the parts of a Kafka's URLs. */
export const kafkaUrls: EngineUrlReader = new EngineUrlReader('Kafka', form);

/**
 * Reads the URL of a topic, and the files of certificates.
 *
 * @param password stands for the one of the URL.
 * @param ownParameters the names that may stand behind `?`, beside those of the connection.
 * @throws {SpillwayError} `invalid_option`, without the password.
 */
export function readKafkaUrl(
  url: string,
  password: string | undefined,
  ownParameters: readonly string[],
): KafkaAddress {
  const match = urlForm.exec(url);
  if (match === null) throw kafkaUrls.invalid();
  const [, secure, user = '', hosts = '', topic = '', query = ''] = match;
  const name = kafkaUrls.decoded(topic);
  // The name would be shown, and may be the end of a password.
  if (name.includes('@')) throw kafkaUrls.invalid(`expected ${form}; a / in a password is %2F`);
  if (!/^[\w.-]{1,249}$/.test(name) || name === '.' || name === '..')
    throw kafkaUrls.invalid(
      `expected the name of a topic behind the hosts, 1 to 249 characters of A-Z a-z 0-9 . _ -, got ${JSON.stringify(name)}`,
    );
  const parameters = kafkaUrls.parameters(query, [...connectionParameters, ...ownParameters]);
  const [first = '', ...others] = hosts.split(',');
  return {
    hosts: [kafkaUrls.host(first, defaultPort), ...others.map((host) => kafkaUrls.host(host, defaultPort))],
    topic: name,
    tls: readTls(secure === 's', parameters),
    login: readLogin(user, password, parameters.get('sasl')),
    parameters,
  };
}

/** The address for people: without who asks. */
export function shownAddress({ hosts, tls, topic }: KafkaAddress): string {
  const shown = hosts.map(shownHost).join(',');
  return `kafka${tls === undefined ? '' : 's'}://${shown}/${topic}`;
}

function readTls(isSecure: boolean, parameters: ReadonlyMap<string, string>): TlsOptions | undefined {
  const tls = parameters.get('tls');
  if (tls !== undefined && tls !== '0' && tls !== '1')
    throw kafkaUrls.invalid('expected tls=1, or tls=0 for a connection without TLS');
  if (isSecure && tls === '0') throw kafkaUrls.invalid('expected kafka:// with tls=0, got kafkas://');
  const files = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = parameters.get(name);
    return path === undefined ? [] : [[name, path] as const];
  });
  if (isSecure || tls === '1')
    return Object.fromEntries(files.map(([name, path]) => [name, readPem(name, path)]));
  const [[unused] = []] = files;
  if (unused !== undefined) throw kafkaUrls.invalid(`expected kafkas:// or tls=1 with ${unused}`);
  return undefined;
}

function readPem(name: string, path: string): string {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // Said below, as for a file of something else.
  }
  if (!text.includes('-----BEGIN '))
    throw kafkaUrls.invalid(`expected ${name} to be the path of a PEM file, got ${path}`);
  return text;
}

function readLogin(
  user: string,
  password: string | undefined,
  sasl: string | undefined,
): KafkaLogin | undefined {
  const login = kafkaUrls.login(user);
  const secret = password ?? login.password;
  if (sasl !== undefined && !isMechanism(sasl))
    throw kafkaUrls.invalid(`expected sasl to be ${Object.keys(mechanisms).join(', ')}, got another one`);
  if (login.user === undefined && secret === undefined) {
    if (sasl !== undefined) throw kafkaUrls.invalid('expected USER:PASSWORD@ with sasl');
    return undefined;
  }
  if (login.user === undefined || secret === undefined)
    throw kafkaUrls.invalid('expected both a user and a password');
  return { mechanism: mechanisms[sasl ?? 'plain'], username: login.user, password: secret };
}

function isMechanism(text: string): text is keyof typeof mechanisms {
  return Object.hasOwn(mechanisms, text);
}
