import type { IncomingHttpHeaders } from 'node:http';
import { listed } from '@spillway/server/http/listed';

/** The headers in which clients bring keys. None of them is ever handed on by itself. */
export const keyHeaders = ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key'] as const;

/** What proves to a provider who asks: headers that are sent with a request. */
export type Credential = Readonly<Record<string, string>>;

/** Headers that concern one connection (RFC 9110, 7.6.1), and those that the next hop sets itself. */
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

/** Whether a header concerns one connection, and is the gateway's own on each. */
export function isConnectionHeader(name: string): boolean {
  return connectionHeaders.includes(name);
}

/** What of a client's request is no business of a provider's. */
const notToProvider = new Set([
  ...connectionHeaders,
  ...keyHeaders,
  'accept-encoding',
  'cookie',
  'forwarded',
  'origin',
  'referer',
  'spillway-merge-ms',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
]);

/** What of a provider's reply is no business of a client's, beside what is about the sharing of origins: the gateway's own counts. */
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
]);

/** The headers for a provider: the client's, less what is not for it, with the right credential. */
export function providerHeaders(client: IncomingHttpHeaders, credential: Credential): Record<string, string> {
  // Bytes have to arrive as the provider wrote them: events are found in them.
  return { ...without(client, notToProvider), 'accept-encoding': 'identity', ...credential };
}

/** The headers for a client. */
export function clientHeaders(provider: IncomingHttpHeaders): Record<string, string> {
  const headers = without(provider, notToClient);
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('access-control-')) delete headers[name];
    // A piece of a string keeps all of it in memory, here the provider's whole head for as long as the stream lives.
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
