import { invalid } from '@spillway/core/invalid';

/** @throws {SpillwayError} `invalid_option`: no URL, or of another protocol. */
export function expectUrl(address: string, protocols: readonly string[]): URL {
  if (URL.canParse(address)) {
    const url = new URL(address);
    if (protocols.includes(url.protocol)) return url;
  }
  throw invalid(`url: expected a URL with ${protocols.join(' or ')}, got ${JSON.stringify(address)}.`);
}

/** @throws {SpillwayError} `invalid_option`: a key that no header can have. The message does not have it. */
export function expectKey(apiKey: string | undefined): void {
  if (apiKey !== undefined && !/^[\u0021-\u007e]+$/.test(apiKey))
    throw invalid('apiKey: expected printable ASCII characters without spaces; the key has others, or none.');
}
