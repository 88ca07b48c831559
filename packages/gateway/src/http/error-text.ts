import { STATUS_CODES } from 'node:http';
import { apis } from '../api.ts';
import type { GatewayError } from '@spillway/server/errors';

/** An error as a whole answer by HTTP, for a bare connection, in the format of whoever has none. */
export function errorText(error: GatewayError): string {
  const body = apis.openai.errors.errorBody(error);
  const reason = STATUS_CODES[error.status] ?? '';
  return (
    `HTTP/1.1 ${error.status} ${reason}\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  );
}
