import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import { putRefusal } from '../guard.ts';

/** So often a percent-encoding is looked behind for another one; more of them on top of each other are refused. */
const maxEncodings = 3;

/**
 * A request target (RFC 9112, 3.2.1: a path, and perhaps a query) in the one form that everything here reads: encodings of
 * characters that need none are decoded (RFC 3986, 6.2.2.2), everything else stays byte for byte. `undefined` for a
 * target that two programs could read in two ways: one that is no path, with empty or dot segments in whatever spelling,
 * with backslashes in the path (browsers leave those of a query as they are), or with characters that no URL has.
 */
export function readTarget(raw: string): string | undefined {
  const at = raw.indexOf('?');
  const path = at === -1 ? raw : raw.slice(0, at);
  if (!/^\/[\x21-\x7e]*$/.test(raw) || path.includes('\\') || raw.includes('#')) return undefined;
  if (path.includes('//') || /%(?![\da-f]{2})/i.test(path) || isClimbing(path)) return undefined;
  return decodeUnreserved(path) + raw.slice(path.length);
}

/** Gives every request of a server its canonical target, and refuses those that have none. Before everything else. */
export function putTargets(server: FastifyInstance): void {
  const refusals = new WeakMap<IncomingMessage, GatewayError>();
  server.server.prependListener('request', (request: IncomingMessage) => {
    const refusal = requestRefusal(request);
    if (refusal !== undefined) refusals.set(request, refusal);
    // Of a refused request nothing is read.
    request.url = (refusal === undefined ? readTarget(request.url ?? '') : undefined) ?? '/';
  });
  putRefusal(server, ({ raw }) => refusals.get(raw));
}

/** Why a request is refused for what it is addressed to; `undefined`: it is not. */
export function requestRefusal({ rawHeaders, url = '' }: IncomingMessage): GatewayError | undefined {
  if (readTarget(url) === undefined) return targetRefusal(url);
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host');
  if (hosts.length <= 1) return undefined;
  return new GatewayError('invalid_request', `The Host header: expected one, got ${hosts.length}.`);
}

/** Why a target without a canonical form is refused: what is a path leads nowhere here, anything else is no request for us. */
export function targetRefusal(raw: string): GatewayError {
  return new GatewayError(
    /^\/(?!\/)/.test(raw) ? 'not_found' : 'invalid_request',
    'The request target: expected a path that begins with one slash, without empty or dot segments, backslashes, broken percent-encodings and characters that no URL has.',
  );
}

/** Whether a path has a segment that leads elsewhere, for whoever decodes it once or several times. */
function isClimbing(path: string): boolean {
  // Encodings of a dot or a slash that are too long for UTF-8, and still read by some.
  if (/%c[01]/i.test(path)) return true;
  let text = path;
  for (let round = 0; round <= maxEncodings; round += 1) {
    // What follows a semicolon is no part of a segment for some servers.
    if (/(?:^|[/\\])\.{1,2}(?:[/\\;]|$)/.test(text)) return true;
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
