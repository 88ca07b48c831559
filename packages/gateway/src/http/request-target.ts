import type { IncomingMessage } from 'node:http';
import { GatewayError } from '@spillway/server/errors';
import { keyHeaders } from './headers.ts';

/**
 * The most percent-encodings on top of each other that are decoded to check a path. A path with more is
 * refused.
 */
const maxEncodings = 3;

/**
 * Reads a request target (RFC 9112, 3.2.1: a path, and perhaps a query) into the one form that the gateway
 * uses. Encoded characters that need no encoding are decoded (RFC 3986, 6.2.2.2). Everything else stays byte
 * for byte.
 *
 * `undefined` for a target that two programs could read in two ways: one without a path, with empty or dot
 * segments in any spelling, or with characters that no URL has. A backslash in the path counts as such. One
 * in the query does not: browsers leave it as it is.
 */
export function readTarget(raw: string): string | undefined {
  const at = raw.indexOf('?');
  const path = at === -1 ? raw : raw.slice(0, at);
  if (!/^\/[\x21-\x7e]*$/.test(raw) || path.includes('\\') || raw.includes('#')) return undefined;
  if (/%(?![\da-f]{2})/i.test(path) || isAmbiguous(path)) return undefined;
  return decodeUnreserved(path) + raw.slice(path.length);
}

const refusals = new WeakMap<IncomingMessage, GatewayError>();

/**
 * Fastify's `rewriteUrl`: gives a request its canonical target before it is routed, and '/' if it is refused.
 * Fastify calls it on every address that it listens on. A listener on Fastify's server would see the requests
 * of the first address only.
 */
export function rewriteTarget(request: IncomingMessage): string {
  const refusal = requestRefusal(request);
  if (refusal !== undefined) refusals.set(request, refusal);
  return (refusal === undefined ? readTarget(request.url ?? '') : undefined) ?? '/';
}

/** Why `rewriteTarget` refused a request; `undefined`: it did not. */
export function rewriteRefusal(request: IncomingMessage): GatewayError | undefined {
  return refusals.get(request);
}

/**
 * Headers that may come only once: of two values, the gateway might read one and a server on the way the
 * other.
 */
const singleHeaders = new Set<string>(['host', 'origin', ...keyHeaders]);

/** Why a request is refused because of its target or of one of `singleHeaders`; `undefined`: it is not. */
export function requestRefusal({ headers, rawHeaders, url = '' }: IncomingMessage): GatewayError | undefined {
  if (readTarget(url) === undefined) return targetRefusal(url);
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? '';
    if (singleHeaders.has(name) && seen.has(name)) {
      return new GatewayError('invalid_request', `The header ${name}: expected one, got several.`);
    }
    seen.add(name);
  }
  const { host } = headers;
  if (host === undefined || /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.test(host)) return undefined;
  return new GatewayError(
    'invalid_request',
    'The header host: expected a name or an address, and perhaps a port.',
  );
}

/**
 * The error for a target without a canonical form: `not_found` if it begins as a path, else
 * `invalid_request`.
 */
export function targetRefusal(raw: string): GatewayError {
  return new GatewayError(
    /^\/(?!\/)/.test(raw) ? 'not_found' : 'invalid_request',
    'The request target: expected a path that begins with one slash, without empty or dot segments, backslashes, control characters, broken percent-encodings and characters that no URL has.',
  );
}

/** Whether a path means something else to a server that decodes it, once or several times. */
function isAmbiguous(path: string): boolean {
  // Overlong encodings of a dot or a slash are invalid UTF-8, and some servers still decode them.
  if (/%c[01]/i.test(path)) return true;
  let text = path;
  for (let round = 0; round <= maxEncodings; round += 1) {
    // Some servers cut a segment at a semicolon, and some drop spaces at its end.
    if (/\\|\/\/|\p{Cc}|(?:^|\/)\.{1,2} *(?:[/;]|$)/u.test(text)) return true;
    const decoded = text.replaceAll(/%([0-7][\da-f])/gi, (_, digits: string) => characterOf(digits));
    if (decoded === text) return false;
    text = decoded;
  }
  return true;
}

function decodeUnreserved(path: string): string {
  return path.replaceAll(/%([2-7][\da-f])/gi, (encoded, digits: string) => {
    const character = characterOf(digits);
    return /[\w.~-]/.test(character) ? character : encoded;
  });
}

function characterOf(digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 16));
}
