import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError, noSuchStream, clientLeft } from '../errors.ts';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { clientAddress } from '../http/client-address.ts';
import { requestIdOf } from '../http/request-id.ts';
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
import { Patience } from './patience.ts';
import { findPosition, type Position } from './position.ts';
import { type ReadQuery, readReadQuery } from './read-query.ts';

/** How long a long-poll waits: less than proxies allow. */
const longPollMs = 25_000;
/** How long `live=sse` lasts. Its client then comes back, as Durable Streams prescribes. */
const sseMs = 60_000;
/** The body of an answer without one. */
const none = Buffer.alloc(0);

/** An answer that is no live stream, for the server to send in its own way. */
export interface ReadAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface ReadOptions {
  readonly clock: ServerClock;
  readonly paces: Paces;
  /** A client that takes nothing for so long is disconnected. */
  readonly stallTimeoutMs: number;
  /** The bytes that may wait for a reader. */
  readonly windowBytes: number;
}

/** A request to read a stream. */
export interface ReadRequest {
  readonly raw: IncomingMessage;
  /** The values of the query, by name. */
  readonly query: unknown;
  /** The stream of the request's URL; `undefined`: there is none that the caller may read. */
  readonly find: () => GatewayStream | undefined;
  readonly response: ServerResponse;
  /**
   * Takes the response from its server, together with the headers that are set, for a live stream or because its client
   * has left. Called at most once, after the last error that could be thrown.
   */
  readonly take: () => void;
}

/**
 * The content type of what streams contain. For the published client of Durable Streams, `text/event-stream` would
 * mean the protocol's own events.
 */
const contentType = 'text/plain; charset=utf-8';

/**
 * Answers a GET on a stream's URL: with the chunks that are there, with those that come, or with both. Resolves with an
 * answer that the server sends, or with `undefined` when the response was taken.
 *
 * @throws {GatewayError | SpillwayError} `not_found`, `invalid_request`, `history_gone`, or `overloaded` for a log that
 * does not answer, before the response is taken.
 */
export async function answerGet(request: ReadRequest, options: ReadOptions): Promise<ReadAnswer | undefined> {
  const patience = new Patience(request.response, options.clock);
  try {
    return await get(request, options, patience);
  } catch (error) {
    if (!request.response.destroyed) throw error;
    // The client has left, and its response does not emit `close` again.
    request.take();
    return undefined;
  } finally {
    patience.end();
  }
}

async function get(
  request: ReadRequest,
  options: ReadOptions,
  patience: Patience,
): Promise<ReadAnswer | undefined> {
  const stream = found(request);
  const query = readReadQuery(request.query, request.raw.headers);
  const bodyBefore = stream.body;
  await patience.wait(bodyBefore?.log.refresh?.());
  // Read before the wait below, so that chunks that come meanwhile count as after `now`.
  const nowOffset = stream.body?.log.nextOffset ?? 0;
  const body = await startedBody(stream);
  if (bodyBefore === undefined) await patience.wait(body.log.refresh?.());
  // Set now, so that an error's answer has these headers, too.
  for (const [name, value] of Object.entries(streamHeaders(body))) request.response.setHeader(name, value);
  const { fromName } = query;
  const from = await findPosition(body.log, fromName, query.from, nowOffset, patience);
  // The stream may be forgotten during the waits, and a forgotten stream's readers are not watched.
  if (found(request) !== stream) throw noSuchStream();
  if (request.response.destroyed) throw clientLeft('left');
  const read = { ...query, from, isNow: query.from === 'now' };
  return query.mode === 'events' || query.mode === 'sse'
    ? serve(request, stream, body, read, options)
    : await answerPart(request, stream, body, read, options, patience);
}

/**
 * Answers a HEAD on a stream's URL: with the stream's present end.
 *
 * @throws {GatewayError} `not_found`, or `overloaded` for a log that does not answer.
 */
export async function answerHead(
  request: ReadRequest,
  { clock }: Pick<ReadOptions, 'clock'>,
): Promise<ReadAnswer> {
  const patience = new Patience(request.response, clock);
  try {
    const body = await startedBody(found(request));
    await patience.wait(body.log.refresh?.());
    const { nextOffset } = body.log;
    const headers = offsetHeaders(body, { to: nextOffset, isUpToDate: true });
    return {
      status: 200,
      headers: { ...streamHeaders(body), ...headers, 'content-type': contentType },
      body: none,
    };
  } finally {
    patience.end();
  }
}

/**
 * Answers a DELETE on a stream's URL: stops the model, and drops the chunks that no reader has read.
 *
 * @throws {GatewayError} `not_found`
 */
export function answerDelete(request: ReadRequest): ReadAnswer {
  found(request).cancel(new GatewayError('cancelled', 'The stream was cancelled.'));
  return { status: 204, headers: {}, body: none };
}

/** How a stream is read, and from where. */
interface Read extends Pick<ReadQuery, 'cursor' | 'mode'> {
  readonly from: Position;
  /** Whether the request asked for `now`, which is another place each time. */
  readonly isNow: boolean;
}

/** Answers with the chunks that are there, at once or as soon as there are some. */
async function answerPart(
  { raw, response }: ReadRequest,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, isNow, mode }: Read,
  { clock, stallTimeoutMs }: ReadOptions,
  patience: Patience,
): Promise<ReadAnswer> {
  const wait = mode === 'long-poll' ? { ms: longPollMs, response } : undefined;
  const part: Part = await readPart(stream, body, from, clock, wait ?? patience);
  if (response.destroyed) {
    part.release();
    throw clientLeft('left');
  }
  response.once('close', part.release);
  const tag = entityTag(stream, body, from, part);
  const told = {
    ...streamHeaders(body),
    ...offsetHeaders(body, part),
    ...(isNow ? {} : { etag: tag }),
    ...(wait === undefined ? {} : { 'stream-cursor': nextCursor(cursor, clock.dateMs()) }),
    'content-type': contentType,
  };
  // A client that does not take the answer is disconnected.
  response.setTimeout(stallTimeoutMs, () => response.destroy());
  if (wait !== undefined && part.body.length === 0) return { status: 204, headers: told, body: none };
  const isKnown = wait === undefined && hasEntityTag(raw.headers['if-none-match'], tag);
  if (isKnown) return { status: 304, headers: told, body: none };
  if (part.to > from.offset) stream.partSent({ address: clientAddress(raw), to: part.to });
  return { status: 200, headers: told, body: part.body };
}

/** Answers with chunks as events: those that are there and those that come. */
function serve(
  { raw: request, response, take }: ReadRequest,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, mode }: Read,
  { clock, paces, windowBytes }: ReadOptions,
): ReadAnswer | undefined {
  const { format, log } = body;
  if (format === undefined) throw new Error('a stream of events has a format');
  // 204 is the standard's answer to an EventSource that must not come back.
  if (mode === 'events' && hasSeenAll(log, from)) return { status: 204, headers: {}, body: none };
  take();
  const options: ClientResponseOptions = {
    format,
    paces,
    clock,
    streamUrl: undefined,
    requestId: stream.requestId,
    // A client with `live=sse` asks for the events of Durable Streams, and understands those.
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
    requestId: requestIdOf(request),
  });
  if (mode === 'sse') endAfter(clock, sseMs, reader, sink);
  return undefined;
}

function endAfter(clock: ServerClock, ms: number, reader: ServedReader, response: ClientResponse): void {
  const timer = clock.after(ms, () => reader.complete());
  void response.settled.then(() => timer.stop());
}

/** @throws {GatewayError} `not_found`, also for another caller, who must not learn that the stream exists. */
function found({ find }: ReadRequest): GatewayStream {
  const stream = find();
  if (stream === undefined) throw noSuchStream();
  return stream;
}

/** @throws {GatewayError} `not_found` if the stream has no events. */
async function startedBody(stream: GatewayStream): Promise<StreamBody> {
  await stream.started.catch(() => undefined);
  const { body } = stream;
  if (body?.isEvents !== true) {
    throw new GatewayError('not_found', 'The stream at this URL has no events that could be read.');
  }
  return body;
}
