import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '../errors.ts';

/** How to read a stream: the chunks that are there, more when they come (in two ways), or its events as they come. */
type ReadMode = 'catch-up' | 'events' | 'long-poll' | 'sse';

/** The parsed options of a request to read a stream. */
export interface ReadQuery {
  readonly mode: ReadMode;
  /** Where to start, as the client wrote it. */
  readonly from: string;
  /** The header or query value in which the client wrote it. */
  readonly fromName: 'Last-Event-ID' | 'offset';
  readonly cursor: string | undefined;
}

/** @throws {GatewayError} `invalid_request` */
export function readReadQuery(query: unknown, headers: IncomingHttpHeaders): ReadQuery {
  const values = query as Readonly<Record<string, string | string[] | undefined>>;
  const offset = single('offset', values['offset']);
  const live = single('live', values['live']);
  if (live !== undefined && live !== 'long-poll' && live !== 'sse') {
    throw invalid(`live: expected long-poll or sse, got ${JSON.stringify(live)}.`);
  }
  if (live !== undefined && offset === undefined) {
    throw invalid(`offset: expected one with live=${live}, got none; -1 is the start.`);
  }
  const wantsEvents = /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(headers.accept ?? '');
  const mode = live ?? (wantsEvents ? 'events' : 'catch-up');
  const lastEventId = mode === 'events' ? headers['last-event-id']?.toString() : undefined;
  return {
    mode,
    from: lastEventId ?? offset ?? '-1',
    fromName: lastEventId === undefined ? 'offset' : 'Last-Event-ID',
    cursor: single('cursor', values['cursor']),
  };
}

function single(name: string, value: string | string[] | undefined): string | undefined {
  if (!Array.isArray(value)) return value;
  throw invalid(`${name}: expected it once, got it ${value.length} times.`);
}

function invalid(message: string): GatewayError {
  return new GatewayError('invalid_request', message);
}
