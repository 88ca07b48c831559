import type { Format } from '@spillway/core/format/format';
import { GatewayError } from '@spillway/server/errors';
import { RefusedError } from '../http/error-shapes.ts';
import type { ReplyPool } from '../source/exchange.ts';
import { type ProviderRequest, type Reply, sendRequest } from '../source/reply.ts';

/**
 * The most redirects of one request. A sound provider needs two at most: to another host's name, and to a
 * path with a slash at the end.
 */
const maxRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);
/** Headers that describe a body. They are dropped together with it. */
const bodyHeaders = new Set(['content-encoding', 'content-language', 'content-location', 'content-type']);

/**
 * Sends a request, and follows redirects inside the provider's own origin. A provider that redirects has done
 * no work. Redirects mean the same as to direct clients (WHATWG Fetch, "HTTP-redirect fetch"). 307 and 308
 * keep the method and the body, and so do 301 and 302 unless the method is POST. In all other cases the next
 * request is a GET.
 *
 * @throws the errors of {@link sendRequest}.
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

/** Whether a reply is a redirect with a `Location`. */
export function isRedirect(reply: Reply): boolean {
  return redirects.has(reply.status) && reply.header('location') !== undefined;
}

/**
 * The error for a redirect that was not followed. It has the redirect's status, and its `Location` only in
 * the message. A `Location` header would make clients follow it by themselves, with the headers that carry
 * their keys.
 */
export function redirectError(reply: Reply, format: Format): GatewayError {
  const { status } = reply;
  const where = locationOf(reply);
  const url = URL.canParse(where) ? new URL(where) : undefined;
  const message = (to: string): string =>
    `The provider redirects to ${to} (status ${status}): expected an answer, or at most ${maxRedirects} redirects inside its own origin.`;
  const code = 'upstream_redirect';
  const words = message(where);
  // The query may be a secret: the client gets it, the program's log does not.
  const logged = url === undefined ? where.replace(/[?#].*$/, '') : url.origin + url.pathname;
  const refusal = new GatewayError(code, message(logged), { status });
  return new RefusedError(refusal, {
    reason: '',
    // Another try would be redirected in the same way.
    headers: { 'content-type': 'application/json', 'x-should-retry': 'false' },
    body: Buffer.from(format.errorBody({ message: words, code, status })),
    words,
  });
}

/** The `Location` of a reply. Bytes beyond ASCII in a header are mostly UTF-8. */
function locationOf(reply: Reply): string {
  return Buffer.from(reply.header('location') ?? '', 'latin1').toString('utf8');
}

function pathInOrigin(reply: Reply, origin: string, from: string): string | undefined {
  if (!isRedirect(reply)) return undefined;
  const location = locationOf(reply);
  // No URL contains a space: with one, `Location` is two URLs or none.
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
