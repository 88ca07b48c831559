import type { IncomingHttpHeaders } from 'node:http';
import { requestIdHeader } from '@spillway/server/http/request-id';
import { listed } from '@spillway/server/http/listed';

/** The headers in which clients send keys. None is forwarded as it is. */
export const keyHeaders = ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key'] as const;

/** The headers that authenticate a request to a provider. */
export type Credential = Readonly<Record<string, string>>;

/** Says what of a request gave way to pressure, as `max_tokens=1000, reasoning_effort=low`. */
export const gaveWayHeader = 'spillway-gave-way';

/** Headers that concern one connection (RFC 9110, 7.6.1), and headers that the next hop sets itself. */
const connectionHeaders: readonly string[] = [
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** Whether a header concerns one connection: the gateway sets its own on each. */
export function isConnectionHeader(name: string): boolean {
  return connectionHeaders.includes(name);
}

/** The headers of a client's request that a provider does not get. */
const notToProvider = new Set([
  ...connectionHeaders,
  ...keyHeaders,
  'accept-encoding',
  'cookie',
  'forwarded',
  'origin',
  'referer',
  'spillway-budget-ms',
  'spillway-merge-ms',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  // By these a GET could be another request at a provider than it is here.
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-real-ip',
  requestIdHeader,
]);

/**
 * The headers of a provider's reply that a client does not get. CORS headers are left out, too: the gateway
 * sends its own. So is the id of a Spillway behind this one.
 */
const notToClient = new Set([
  ...connectionHeaders,
  'alt-svc',
  'cache-control',
  'date',
  'server',
  'set-cookie',
  'strict-transport-security',
  'vary',
  'x-accel-buffering',
  requestIdHeader,
]);

/** The headers for a provider: the client's without `notToProvider`, and the credential. */
export function providerHeaders(client: IncomingHttpHeaders, credential: Credential): Record<string, string> {
  // The reply must come without compression: events are found in its bytes.
  return { ...without(client, notToProvider), 'accept-encoding': 'identity', ...credential };
}

/** The headers for a client: the provider's without `notToClient`. */
export function clientHeaders(provider: IncomingHttpHeaders): Record<string, string> {
  const headers = without(provider, notToClient);
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('access-control-')) delete headers[name];
    // A slice of a string keeps the whole string in memory: here the provider's whole head, for as long as
    // the stream lives.
    else headers[name] = Buffer.from(value, 'latin1').toString('latin1');
  }
  return headers;
}

function without(headers: IncomingHttpHeaders, unwanted: ReadonlySet<string>): Record<string, string> {
  const alsoUnwanted = new Set(listed((headers.connection ?? '').toLowerCase()));
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || unwanted.has(name) || alsoUnwanted.has(name)) continue;
    result[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return result;
}
