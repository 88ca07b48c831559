import { STATUS_CODES } from 'node:http';
import { apis } from '../api.ts';
import type { GatewayError } from '@spillway/server/errors';

/**
 * An error as a whole HTTP response, for a connection without a request. It is in OpenAI's format, as no API
 * is known.
 */
export function errorText(error: GatewayError): string {
  const body = apis.openai.errors.errorBody(error);
  const reason = STATUS_CODES[error.status] ?? '';
  return (
    `HTTP/1.1 ${error.status} ${reason}\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  );
}
