import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError, noSuchStream, clientLeft } from '../errors.ts';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { clientAddress } from '../http/client-address.ts';
import type { ClientResponse, ClientResponseOptions } from '../sink/client-response.ts';
import type { Paces } from '../sink/paces.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamBody } from '../stream/stream-body.ts';
import type { ServedReader } from '../stream/served-reader.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { nextCursor } from './cursor.ts';
import { DurableResponse } from './durable-response.ts';
import { EventSourceResponse, hasSeenAll } from './event-source-response.ts';
import { entityTag, hasEntityTag, offsetHeaders, type Part, readPart, streamHeaders } from './part.ts';
import { findPosition, type Position } from './position.ts';
import { type ReadQuery, readReadQuery } from './read-query.ts';

/** How long a long-poll waits: below what proxies allow. */
const longPollMs = 25_000;
/** After this time `live=sse` ends, and its reader comes back, as Durable Streams has it. */
const sseMs = 60_000;

export interface ReadOptions {
  readonly clock: ServerClock;
  readonly paces: Paces;
  /** A client that takes nothing for so long is let go. */
  readonly stallTimeoutMs: number;
  /** What may wait for a reader. */
  readonly windowBytes: number;
}

/** A request to read a stream. */
export interface ReadRequest {
  readonly raw: IncomingMessage;
  /** The values of its query, by name. */
  readonly query: unknown;
  /** The stream of its URL; `undefined`: there is none that its caller may read (any more). */
  readonly find: () => GatewayStream | undefined;
  readonly response: ServerResponse;
  /** Takes the response from its server, with the headers that are on it; called once, when nothing is thrown any more. */
  readonly take: () => void;
}

/**
 * What is in the streams. To the published client of Durable Streams, `text/event-stream` would be the protocol's
 * own events and not their content.
 */
const contentType = 'text/plain; charset=utf-8';

/**
 * Answers a GET on a stream's URL: with what is there, with what comes, or with both.
 *
 * @throws {GatewayError | SpillwayError} `not_found`, `invalid_request`, `history_gone`, before the response is taken.
 */
export async function answerGet(request: ReadRequest, options: ReadOptions): Promise<void> {
  const { headers } = request.raw;
  const stream = found(request);
  const query = readReadQuery(request.query, headers);
  await stream.body?.log.refresh?.();
  // What comes while the answer is awaited comes after that.
  const nowOffset = stream.body?.log.nextOffset ?? 0;
  const body = await startedBody(stream);
  // The stream may be forgotten meanwhile, and then nobody would watch its readers.
  if (found(request) !== stream) throw noSuchStream();
  // An error says it, too.
  for (const [name, value] of Object.entries(streamHeaders(body))) request.response.setHeader(name, value);
  const from = await findPosition(body.log, query.fromName, query.from, nowOffset);
  const read = { ...query, from, isNow: query.from === 'now' };
  // Its client may have left meanwhile, and then it never closes again.
  if (request.response.destroyed) {
    request.take();
    return;
  }
  if (query.mode === 'events' || query.mode === 'sse') serve(request, stream, body, read, options);
  else await answerPart(request, stream, body, read, options);
}

/**
 * Answers a HEAD on a stream's URL: where it ends at the moment.
 *
 * @throws {GatewayError} `not_found`, before the response is taken.
 */
export async function answerHead(request: ReadRequest): Promise<void> {
  const body = await startedBody(found(request));
  await body.log.refresh?.();
  const { nextOffset } = body.log;
  const headers = offsetHeaders(body, { to: nextOffset, isUpToDate: true });
  request.take();
  request.response.writeHead(200, { ...streamHeaders(body), ...headers, 'content-type': contentType }).end();
}

/**
 * Answers a DELETE on a stream's URL: the model is stopped, and what nobody has read is gone.
 *
 * @throws {GatewayError} `not_found`, before the response is taken.
 */
export function answerDelete(request: ReadRequest): void {
  found(request).stop(new GatewayError('cancelled', 'The stream was cancelled.'));
  request.take();
  request.response.writeHead(204).end();
}

/** A stream that is read, and from where. */
interface Read extends Pick<ReadQuery, 'cursor' | 'mode'> {
  readonly from: Position;
  /** It asked for where the stream is now, which is another place each time. */
  readonly isNow: boolean;
}

/** Answers with what is there, at once or as soon as there is something. */
async function answerPart(
  { raw: { headers }, response, take }: ReadRequest,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, isNow, mode }: Read,
  { clock, stallTimeoutMs }: ReadOptions,
): Promise<void> {
  const wait = mode === 'long-poll' ? { ms: longPollMs, response } : undefined;
  const part: Part = await readPart(stream, body, from, clock, wait);
  take();
  if (response.destroyed) {
    part.letGo();
    return;
  }
  response.once('close', part.letGo);
  const tag = entityTag(stream, body, from, part);
  const told = {
    ...streamHeaders(body),
    ...offsetHeaders(body, part),
    ...(isNow ? {} : { etag: tag }),
    ...(wait === undefined ? {} : { 'stream-cursor': nextCursor(cursor, clock.dateMs()) }),
    'content-type': contentType,
  };
  // A client that does not take it is let go.
  response.setTimeout(stallTimeoutMs, () => response.destroy());
  if (wait !== undefined && part.body.length === 0) response.writeHead(204, told).end();
  else if (wait === undefined && hasEntityTag(headers['if-none-match'], tag))
    response.writeHead(304, told).end();
  else response.writeHead(200, { ...told, 'content-length': part.body.length }).end(part.body);
}

/** Answers with what is there and what comes, as events. */
function serve(
  { raw: request, response, take }: ReadRequest,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, mode }: Read,
  { clock, paces, windowBytes }: ReadOptions,
): void {
  const { format, log } = body;
  if (format === undefined) throw new Error('a stream of events has a format');
  take();
  // The standard's word to an EventSource that it shall not come back.
  if (mode === 'events' && hasSeenAll(log, from)) {
    response.writeHead(204).end();
    return;
  }
  const options: ClientResponseOptions = {
    format,
    paces,
    clock,
    streamUrl: undefined,
    // With `live=sse` it asks for the events of Durable Streams, and reads those.
    answersOnly: mode === 'events' && readsAnswersOnly(request.headers),
    onLeave: () => reader.detach(clientLeft('left')),
  };
  const sink =
    mode === 'events'
      ? new EventSourceResponse(response, options, log, from)
      : new DurableResponse(response, options, log, from, cursor);
  const reader: ServedReader = stream.attach(sink, {
    from: from.offset,
    maxBytes: windowBytes,
    overflow: 'disconnect',
    returns: true,
    wantsEvents: true,
    via: mode === 'events' ? 'event-source' : 'durable-streams',
    address: clientAddress(request),
  });
  if (mode === 'sse') endAfter(clock, sseMs, reader, sink);
}

function endAfter(clock: ServerClock, ms: number, reader: ServedReader, response: ClientResponse): void {
  const timer = clock.after(ms, () => reader.finish());
  void response.settled.then(() => timer.stop());
}

/** @throws {GatewayError} `not_found`, also for another caller: that there is such a stream is not said. */
function found({ find }: ReadRequest): GatewayStream {
  const stream = find();
  if (stream === undefined) throw noSuchStream();
  return stream;
}

/** @throws {GatewayError} `not_found` if there are no events to be read. */
async function startedBody(stream: GatewayStream): Promise<StreamBody> {
  await stream.started.catch(() => undefined);
  const { body } = stream;
  if (body?.isEvents !== true) {
    throw new GatewayError('not_found', 'The stream at this URL has no events that could be read.');
  }
  return body;
}
