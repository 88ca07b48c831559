import type { IncomingHttpHeaders } from 'node:http';
import { foreignRequestId, requestIdHeader } from '@spillway/server/http/request-id';

/** The headers in which clients, and proxies before the gateway, say their own id of a request. */
const clientHeaders = ['x-request-id', 'x-client-request-id'] as const;
/** The headers in which providers say theirs: Anthropic, OpenAI, Azure, Amazon, and a Spillway behind this one. */
const upstreamHeaders = [
  'request-id',
  'x-request-id',
  'apim-request-id',
  'x-amzn-requestid',
  requestIdHeader,
] as const;

/** The id that a client, or a proxy before the gateway, gave to its request. It is logged, and means nothing else. */
export function clientRequestId(headers: IncomingHttpHeaders): string | undefined {
  return foreignRequestId(headers, clientHeaders);
}

/** The id that a provider gave to a request. */
export function upstreamRequestId(headers: IncomingHttpHeaders): string | undefined {
  return foreignRequestId(headers, upstreamHeaders);
}
