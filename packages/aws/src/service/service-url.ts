import { SpillwayError } from '@spillway/core';
import { expectWhole } from '@spillway/core/invalid';

/** A URL of a service of AWS, or of one that speaks like it. */
export interface ServiceUrl {
  /** With its port, if it has one; of S3 the bucket. */
  readonly host: string;
  /** What stands between slashes, decoded. */
  readonly path: readonly string[];
  /** By the names that are known. */
  readonly parameters: ReadonlyMap<string, string>;
}

const urlForm = /^([a-z][a-z0-9+]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/;

/**
 * Reads a URL strictly: no user, and no parameter that nobody knows.
 *
 * @param form how the URL has to look, for errors.
 * @throws {SpillwayError} `invalid_option`; never with more of the URL than a parameter's name.
 */
export function readServiceUrl(
  url: string,
  scheme: string,
  form: string,
  known: readonly string[],
): ServiceUrl {
  const [, foundScheme, host = '', path = '', query = ''] = urlForm.exec(url) ?? [];
  if (foundScheme !== scheme || host === '') throw invalidUrl(form, `expected ${form}`);
  if (host.includes('@'))
    throw invalidUrl(
      form,
      'expected no user and no password: keys come from where AWS’s own tools have them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, the role of the machine)',
    );
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!known.includes(name))
      throw invalidUrl(form, `expected ${known.join(', ')}, got ${shown(name)}${hintFor(name, known)}`);
    if (parameters.has(name)) throw invalidUrl(form, `expected ${name} once`);
    if (value === '') throw invalidUrl(form, `expected a value of ${name}`);
    parameters.set(name, value);
  }
  return { host, path: path.split('/').filter(Boolean).map(decoded), parameters };

  function decoded(text: string): string {
    try {
      return decodeURIComponent(text);
    } catch {
      throw invalidUrl(form, 'expected % to begin a character in base 16');
    }
  }
}

/** The parameter as a whole number, or `undefined`. */
export function numberOf(
  { parameters }: ServiceUrl,
  name: string,
  [least, most]: readonly [number, number],
): number | undefined {
  const text = parameters.get(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value >= least && value <= most) return value;
  throw new SpillwayError(
    'invalid_option',
    `${name} in the url: expected a whole number from ${least} to ${most}, got ${shown(text)}.`,
  );
}

/** Where requests go instead of AWS, or `undefined`. */
export function endpointOf({ parameters }: ServiceUrl): string | undefined {
  const text = parameters.get('endpoint');
  if (text === undefined) return undefined;
  const endpoint = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    endpoint !== undefined && endpoint.username === '' && endpoint.password === '' && endpoint.search === '';
  if (!isPlain || (endpoint.protocol !== 'http:' && endpoint.protocol !== 'https:'))
    throw new SpillwayError(
      'invalid_option',
      'endpoint in the url: expected https://HOST:PORT or http://HOST:PORT, without user and password.',
    );
  return endpoint.href.replace(/\/+$/, '');
}

/** An error for a URL, which it does not quote. */
export function invalidUrl(form: string, expected: string): SpillwayError {
  const more = expected.includes(form) ? '' : ` The form is ${form}.`;
  return new SpillwayError('invalid_option', `url: ${expected}.${more}`);
}

/** What the opening of an engine needs of its options, checked. */
export function checkOptions({
  maxEntryBytes = 1024,
  openTimeoutMs = 5000,
  password,
}: {
  readonly maxEntryBytes?: number | undefined;
  readonly openTimeoutMs?: number | undefined;
  readonly password?: string | undefined;
}): void {
  if (password !== undefined)
    throw new SpillwayError(
      'invalid_option',
      'password: expected none, because keys come from where AWS’s own tools have them, such as AWS_SECRET_ACCESS_KEY.',
    );
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  expectWhole('maxEntryBytes', maxEntryBytes, 1024, Number.MAX_SAFE_INTEGER);
}

/** Short, and on one line. */
function shown(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function hintFor(name: string, known: readonly string[]): string {
  const [best] = known
    .map((other) => ({ other, edits: editsBetween(name.toLowerCase(), other.toLowerCase()) }))
    .toSorted((one, other) => one.edits - other.edits);
  return best !== undefined && best.edits <= 3 ? ` (${best.other}?)` : '';
}

/** How many letters have to be added, removed or changed. */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [at, letter] of Array.from(from).entries()) {
    const next = [at + 1];
    for (let index = 1; index <= to.length; index += 1) {
      const change = (row[index - 1] ?? 0) + (to[index - 1] === letter ? 0 : 1);
      next.push(Math.min(change, (row[index] ?? 0) + 1, (next[index - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
