import { STATUS_CODES } from 'node:http';
import { apis } from '../api.ts';
import type { GatewayError } from '@spillway/server/errors';
import { requestIdHeader } from '@spillway/server/http/request-id';

/**
 * An error as a whole HTTP response, for a connection without a request that could be read, or with an upgrade. It is
 * in OpenAI's format, as no API is known. `more`: further headers.
 */
export function errorText(
  error: GatewayError,
  requestId: string,
  more: readonly (readonly [string, string])[] = [],
): string {
  const answer = error.answer(apis.openai.errors, requestId);
  const headers = Object.entries({
    ...answer.headers,
    [requestIdHeader]: requestId,
    'content-length': String(answer.body.length),
    connection: 'close',
    ...Object.fromEntries(more),
  });
  const reason = STATUS_CODES[error.status] ?? '';
  return (
    `HTTP/1.1 ${error.status} ${reason}\r\n` +
    `${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${answer.body.toString()}`
  );
}
