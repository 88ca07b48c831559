import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '@spillway/server/errors';

const maxMergeMs = 1000;

/**
 * The time between two writes that a client asks for, so that chunks that come meanwhile are merged; 0: the
 * client does not ask.
 *
 * @throws {GatewayError} `invalid_request`
 */
export function readMergeMs(headers: IncomingHttpHeaders): number {
  const text = headers['spillway-merge-ms'];
  if (text === undefined) return 0;
  const ms = Number(text);
  if (/^\d{1,4}$/.test(text.toString()) && ms <= maxMergeMs) return ms;
  throw new GatewayError(
    'invalid_request',
    `Spillway-Merge-Ms: expected 0 to ${maxMergeMs} ms, got ${JSON.stringify(text)}.`,
  );
}
