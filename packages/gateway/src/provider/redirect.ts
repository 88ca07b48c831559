import type { Format } from '@spillway/core/format/format';
import { GatewayError } from '@spillway/server/errors';
import { RefusedError } from '../http/error-shapes.ts';
import type { ReplyPool } from '../source/exchange.ts';
import { type ProviderRequest, type Reply, sendRequest } from '../source/reply.ts';

/** Of one request. Nobody who means it well has more than two: another host's name, and a slash at the end. */
const maxRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);
/** What is about a body goes with it. */
const bodyHeaders = new Set(['content-encoding', 'content-language', 'content-location', 'content-type']);

/**
 * Sends a request, and again where the provider says that it should go, as long as that is its own origin. A provider that
 * redirects has done no work. What it means is what direct clients make of it (WHATWG Fetch, "HTTP-redirect fetch"):
 * 307 and 308 keep the method and the body, and so do 301 and 302 for all but POST; otherwise it is a GET.
 *
 * @throws what {@link sendRequest} throws.
 */
export async function sendAndFollow(
  pool: ReplyPool,
  request: ProviderRequest,
  signal: AbortSignal,
): Promise<Reply> {
  let asked = request;
  for (let left = maxRedirects; ; left -= 1) {
    const reply = await sendRequest(pool, asked, signal);
    const path = left === 0 ? undefined : pathInOrigin(reply, pool.origin, asked.path);
    if (path === undefined) return reply;
    reply.discard();
    asked = redirected(asked, reply.status, path);
  }
}

/** Whether a reply says that what was asked for is somewhere else. */
export function isRedirect(reply: Reply): boolean {
  return redirects.has(reply.status) && reply.header('location') !== undefined;
}

/**
 * A redirect that was not followed, as an error: with its status, and its `Location` in the message alone. With the header,
 * clients would go there by themselves, with the headers in which they bring their keys.
 */
export function redirectError(reply: Reply, format: Format): GatewayError {
  const { status } = reply;
  const where = locationOf(reply);
  const url = URL.canParse(where) ? new URL(where) : undefined;
  const message = (to: string): string =>
    `The provider redirects to ${to} (status ${status}): expected an answer, or at most ${maxRedirects} redirects inside its own origin.`;
  const code = 'upstream_redirect';
  const words = message(where);
  // What is behind a question mark may be a secret: it is the client's, and not for logs.
  const logged = url === undefined ? where.replace(/[?#].*$/, '') : url.origin + url.pathname;
  const refusal = new GatewayError(code, message(logged), { status });
  return new RefusedError(refusal, {
    reason: '',
    // Nobody shall ask again: it would be the same.
    headers: { 'content-type': 'application/json', 'x-should-retry': 'false' },
    body: Buffer.from(format.errorBody({ message: words, code, status })),
    words,
  });
}

/** Where it says; what is no ASCII in a header is mostly UTF-8. */
function locationOf(reply: Reply): string {
  return Buffer.from(reply.header('location') ?? '', 'latin1').toString('utf8');
}

function pathInOrigin(reply: Reply, origin: string, from: string): string | undefined {
  if (!isRedirect(reply)) return undefined;
  const location = locationOf(reply);
  // A space is in no URL: that is two of them, or none.
  if (/\s/.test(location) || !URL.canParse(location, origin + from)) return undefined;
  const url = new URL(location, origin + from);
  const path = url.pathname + url.search;
  return url.origin === origin && /^\/(?!\/)[\x21-\x7e]*$/.test(path) ? path : undefined;
}

function redirected(request: ProviderRequest, status: number, path: string): ProviderRequest {
  const { method } = request;
  const keeps = status === 307 || status === 308 || (status !== 303 && method !== 'POST');
  if (keeps || method === 'GET') return { ...request, path };
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !bodyHeaders.has(name)),
  );
  return { method: 'GET', path, headers, body: null };
}
