import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { routeOf } from '../http/route.ts';
import { callerOf } from '../access/caller.ts';
import type { Config } from '../config/schema.ts';
import { GatewayError, noSuchStream } from '../errors.ts';
import { clientAddress } from '../http/client-address.ts';
import { hijack } from '../http/hijack.ts';
import { isOwner } from '../access/owner.ts';
import type { ClientResponse, ClientResponseOptions } from '../sink/client-response.ts';
import type { Paces } from '../sink/paces.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamBody } from '../stream/stream-body.ts';
import { clientLeft, type StreamReader } from '../stream/stream-reader.ts';
import type { Streams } from '../stream/streams.ts';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { nextCursor } from './cursor.ts';
import { DurableResponse } from './durable-response.ts';
import { EventSourceResponse, hasSeenAll } from './event-source-response.ts';
import { entityTag, hasEntityTag, offsetHeaders, type Part, readPart, streamHeaders } from './part.ts';
import { findPosition, type Position } from './position.ts';
import { type ReadQuery, readReadQuery } from './read-query.ts';

export interface StreamPathsOptions {
  readonly config: Pick<Config, 'stallTimeoutMs' | 'windowBytes'>;
  readonly streams: Streams;
  readonly paces: Paces;
  /** How long a long-poll waits. Default 25 s: below what proxies allow. */
  readonly longPollMs?: number;
  /** After this time `live=sse` ends, and its reader comes back. Default 60 s, as Durable Streams has it. */
  readonly sseMs?: number;
}

/**
 * What is in the streams. To the published client of Durable Streams, `text/event-stream` would be the protocol's
 * own events and not their content.
 */
const contentType = 'text/plain; charset=utf-8';

/** The read side of streams: at their URLs, for the caller that opened them. */
export function addStreamPaths(server: FastifyInstance, options: StreamPathsOptions): void {
  const url = '/streams/:token';

  server.get(url, { exposeHeadRoute: false }, async (request, reply) => {
    const stream = findStream(request, options);
    const query = readReadQuery(request.query, request.headers);
    // What comes while the answer is awaited comes after that.
    const nowOffset = stream.body?.channel.nextOffset ?? 0;
    const body = await startedBody(stream);
    // Its client may have left meanwhile, and then it never closes again.
    if (reply.raw.destroyed) return reply.hijack();
    // The stream may be forgotten meanwhile, and then nobody would watch its readers.
    if (findStream(request, options) !== stream) throw noSuchStream();
    void reply.headers(streamHeaders(body));
    const from = findPosition(body.channel, query.fromName, query.from, nowOffset);
    return query.mode === 'events' || query.mode === 'sse'
      ? serve(request, reply, stream, body, { ...query, from }, options)
      : await answer(request, reply, stream, body, { ...query, from }, options);
  });

  server.head(url, async (request, reply) => {
    const body = await startedBody(findStream(request, options));
    const { nextOffset } = body.channel;
    return reply
      .headers({ ...streamHeaders(body), ...offsetHeaders(body, { to: nextOffset, isUpToDate: true }) })
      .type(contentType)
      .send();
  });

  server.delete(url, (request, reply) => {
    findStream(request, options).stop(new GatewayError('cancelled', 'The stream was cancelled.'));
    return reply.code(204).send();
  });
}

/** A stream that is read, and from where. */
type Read = Pick<ReadQuery, 'cursor' | 'mode'> & { readonly from: Position };

/** Answers with what is there, at once or as soon as there is something. */
async function answer(
  { headers, query }: FastifyRequest,
  reply: FastifyReply,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, mode }: Read,
  { config, longPollMs = 25_000 }: StreamPathsOptions,
): Promise<FastifyReply> {
  const { raw } = reply;
  const isNow = (query as { readonly offset?: string }).offset === 'now';
  const wait = mode === 'long-poll' ? { ms: longPollMs, response: raw } : undefined;
  const part: Part = await readPart(stream, body, from, wait);
  if (raw.destroyed) {
    part.letGo();
    return reply.hijack();
  }
  raw.once('close', part.letGo);
  const tag = entityTag(stream, body, from, part);
  void reply
    .headers({ ...streamHeaders(body), ...offsetHeaders(body, part), ...(isNow ? {} : { etag: tag }) })
    .type(contentType);
  if (wait !== undefined) void reply.header('stream-cursor', nextCursor(cursor, Date.now()));
  // A client that does not take it is let go.
  raw.setTimeout(config.stallTimeoutMs, () => raw.destroy());
  if (wait !== undefined && part.body.length === 0) return reply.code(204).send();
  if (wait === undefined && hasEntityTag(headers['if-none-match'], tag)) return reply.code(304).send();
  return reply.send(part.body);
}

/** Answers with what is there and what comes, as events. */
function serve(
  request: FastifyRequest,
  reply: FastifyReply,
  stream: GatewayStream,
  body: StreamBody,
  { cursor, from, mode }: Read,
  { config, paces, sseMs = 60_000 }: StreamPathsOptions,
): FastifyReply {
  const { channel, format } = body;
  if (format === undefined) throw new Error('a stream of events has a format');
  // The standard's word to an EventSource that it shall not come back.
  if (mode === 'events' && hasSeenAll(channel, from)) return reply.code(204).send();
  const raw = hijack(reply);
  const options: ClientResponseOptions = {
    format,
    paces,
    streamUrl: undefined,
    // With `live=sse` it asks for the events of Durable Streams, and reads those.
    answersOnly: mode === 'events' && readsAnswersOnly(request.headers),
    onLeave: () => reader.leave(clientLeft('left')),
  };
  const response =
    mode === 'events'
      ? new EventSourceResponse(raw, options, channel, from)
      : new DurableResponse(raw, options, channel, from, cursor);
  const reader: StreamReader = stream.attach(response, {
    from: from.offset,
    maxBytes: config.windowBytes,
    overflow: 'disconnect',
    returns: true,
    wantsEvents: true,
    via: mode === 'events' ? 'event-source' : 'durable-streams',
    address: clientAddress(request.raw),
  });
  if (mode === 'sse') endAfter(sseMs, reader, response);
  return reply;
}

function endAfter(ms: number, reader: StreamReader, response: ClientResponse): void {
  const timer = setTimeout(() => reader.finish(), ms);
  void response.settled.then(() => clearTimeout(timer));
}

/**
 * The stream of a URL.
 *
 * @throws {GatewayError} `not_found`, also for another caller: that there is such a stream is not said.
 */
function findStream(request: FastifyRequest, { streams }: StreamPathsOptions): GatewayStream {
  const { token } = request.params as { readonly token: string };
  const stream = streams.find(token);
  if (stream === undefined) throw noSuchStream();
  const { headers, raw } = request;
  if (!isOwner(callerOf(raw), stream, headers, routeOf(request).queryKey)) throw noSuchStream();
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
