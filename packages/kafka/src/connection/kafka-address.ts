import { readFileSync } from 'node:fs';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { SpillwayError } from '@spillway/core';
import { nearestOf } from './nearest.ts';

/** A broker, or where one is asked for the others. */
export interface KafkaHost {
  readonly host: string;
  readonly port: number;
}

/** Who asks, and how it proves that. */
interface KafkaLogin {
  readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';
  readonly username: string;
  readonly password: string;
}

/** Where a topic is, and who asks. */
export interface KafkaAddress {
  /** Any of a cluster's brokers: they know the others. */
  readonly hosts: readonly [KafkaHost, ...KafkaHost[]];
  readonly topic: string;
  readonly tls: TlsOptions | undefined;
  readonly login: KafkaLogin | undefined;
  /** The parameters behind the topic that are not about the connection. */
  readonly parameters: ReadonlyMap<string, string>;
}

const form =
  'expected kafka://HOST:PORT,HOST:PORT/TOPIC, or kafkas:// with TLS, each with an optional USER:PASSWORD@ and ?NAME=VALUE';
const urlForm = /^kafka(s?):\/\/(?:([^@/?]*)@)?([^@/?]+)\/([^/?#]*)(?:\?([^#]*))?$/;
const hostForm = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i;
const connectionParameters = ['ca', 'cert', 'key', 'sasl', 'tls'] as const;
const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

/**
 * Reads the URL of a topic. A reader of our own: several hosts are no URL to `new URL`, whose errors carry the whole text, with
 * the password. Reads the files of certificates.
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
  if (match === null) throw invalidUrl(form);
  const [, secure, user = '', hosts = '', topic = '', query = ''] = match;
  const name = decoded(topic);
  // The name would be shown, and may be the end of a password.
  if (name.includes('@')) throw invalidUrl(`${form}; a / in a password is %2F`);
  if (!/^[\w.-]{1,249}$/.test(name) || name === '.' || name === '..')
    throw invalidUrl(
      `expected the name of a topic behind the hosts, 1 to 249 characters of A-Z a-z 0-9 . _ -, got ${JSON.stringify(name)}`,
    );
  const parameters = readParameters(query, [...connectionParameters, ...ownParameters]);
  const [first = '', ...others] = hosts.split(',');
  return {
    hosts: [readHost(first), ...others.map(readHost)],
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

export function shownHost({ host, port }: KafkaHost): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * A whole number among the parameters.
 *
 * @throws {SpillwayError} `invalid_option` for anything else.
 */
export function readCount(
  { parameters }: KafkaAddress,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw invalidUrl(`expected ${name} to be a whole number from ${least} to ${most}, got ${text}`);
  return value;
}

function readParameters(query: string, known: readonly string[]): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [name = '', ...rest] = pair.split('=').map(decoded);
    // An unknown name may be a part of a password that was not encoded: only one that looks like a name is shown.
    if (!known.includes(name)) {
      const shown = /^[a-z]{1,30}$/i.test(name) ? name : 'another one';
      throw invalidUrl(
        `expected the parameters ${known.join(', ')}, got ${shown}. Did you mean ${nearestOf(name, known)}?`,
      );
    }
    if (parameters.has(name)) throw invalidUrl(`expected ${name} once`);
    parameters.set(name, rest.join('='));
  }
  return parameters;
}

function readTls(isSecure: boolean, parameters: ReadonlyMap<string, string>): TlsOptions | undefined {
  const tls = parameters.get('tls');
  if (tls !== undefined && tls !== '0' && tls !== '1')
    throw invalidUrl('expected tls=1, or tls=0 for a connection without TLS');
  if (isSecure && tls === '0') throw invalidUrl('expected kafka:// with tls=0, got kafkas://');
  const files = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = parameters.get(name);
    return path === undefined ? [] : [[name, path] as const];
  });
  if (isSecure || tls === '1')
    return Object.fromEntries(files.map(([name, path]) => [name, readPem(name, path)]));
  const [[unused] = []] = files;
  if (unused !== undefined) throw invalidUrl(`expected kafkas:// or tls=1 with ${unused}`);
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
    throw invalidUrl(`expected ${name} to be the path of a PEM file, got ${path}`);
  return text;
}

function readLogin(
  user: string,
  password: string | undefined,
  sasl: string | undefined,
): KafkaLogin | undefined {
  const colon = user.indexOf(':');
  const username = decoded(colon === -1 ? user : user.slice(0, colon));
  const secret = password ?? (colon === -1 ? undefined : decoded(user.slice(colon + 1)));
  if (sasl !== undefined && !isMechanism(sasl))
    throw invalidUrl(`expected sasl to be ${Object.keys(mechanisms).join(', ')}, got another one`);
  if (username === '' && secret === undefined) {
    if (sasl !== undefined) throw invalidUrl('expected USER:PASSWORD@ with sasl');
    return undefined;
  }
  if (username === '' || secret === undefined) throw invalidUrl('expected both a user and a password');
  return { mechanism: mechanisms[sasl ?? 'plain'], username, password: secret };
}

function isMechanism(text: string): text is keyof typeof mechanisms {
  return Object.hasOwn(mechanisms, text);
}

function readHost(text: string): KafkaHost {
  const [, host, port] = hostForm.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) throw invalidUrl(form);
  return { host: host.replace(/^\[|\]$/g, ''), port: port === undefined ? 9092 : Number(port) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidUrl('expected % to begin a character in base 16, also in user and password');
  }
}

function invalidUrl(expected: string): SpillwayError {
  return new SpillwayError('invalid_option', `url of Kafka: ${expected}.`);
}
