import { invalid } from '@spillway/core/invalid';

/**
 * The URL of an option. Messages have its protocol alone: the rest may be a password.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function expectUrl(address: string, protocols: readonly string[], name = 'url'): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url !== undefined && protocols.includes(url.protocol)) return url;
  throw invalid(`${name}: expected a URL with ${protocols.join(' or ')}, got ${url?.protocol ?? 'none'}.`);
}

/**
 * A key that a header can have. The message does not have it.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function expectKey(apiKey: string | undefined): void {
  if (apiKey !== undefined && !/^[\u0021-\u007e]+$/.test(apiKey))
    throw invalid('apiKey: expected printable ASCII characters without spaces; the key has others, or none.');
}
