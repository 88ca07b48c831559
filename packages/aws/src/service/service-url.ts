import type { EngineUrlReader } from '@spillway/core/engine';
import { expectWhole, invalid } from '@spillway/core/invalid';

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
 * @param urls reads the parts of a service's URLs.
 * @throws {SpillwayError} `invalid_option`; never with more of the URL than a parameter's name.
 */
export function readServiceUrl(
  url: string,
  scheme: string,
  urls: EngineUrlReader,
  known: readonly string[],
): ServiceUrl {
  const [, foundScheme, host = '', path = '', query = ''] = urlForm.exec(url) ?? [];
  if (foundScheme !== scheme || host === '') throw urls.invalid();
  if (host.includes('@'))
    throw urls.invalid(
      'expected no user and no password: keys come from where AWS’s own tools have them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, the role of the machine)',
    );
  const parameters = urls.parameters(query, known);
  const parts = path.split('/').filter(Boolean);
  return { host, path: parts.map((part) => urls.decoded(part)), parameters };
}

/** Where requests go instead of AWS, or `undefined`. */
export function endpointOf({ parameters }: ServiceUrl, urls: EngineUrlReader): string | undefined {
  const text = parameters.get('endpoint');
  if (text === undefined) return undefined;
  const endpoint = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    endpoint !== undefined && endpoint.username === '' && endpoint.password === '' && endpoint.search === '';
  if (!isPlain || (endpoint.protocol !== 'http:' && endpoint.protocol !== 'https:'))
    throw urls.invalid('endpoint: expected https://HOST:PORT or http://HOST:PORT, without user and password');
  return endpoint.href.replace(/\/+$/, '');
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
    throw invalid(
      'password: expected none, because keys come from where AWS’s own tools have them, such as AWS_SECRET_ACCESS_KEY.',
    );
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  expectWhole('maxEntryBytes', maxEntryBytes, 1024, Number.MAX_SAFE_INTEGER);
}
