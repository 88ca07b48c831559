import type { ClientFrame } from '@spillway/core/session';
import type { IncomingHttpHeaders } from 'node:http';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { asGatewayError, errorHeaders, GatewayError, overloaded, shuttingDown } from '../errors.ts';
import { tooLarge } from '../http/receive-body.ts';
import { ReceivedBody } from '../http/received-body.ts';
import { readTarget, targetRefusal } from '../http/request-target.ts';
import { isOwner, ownerOf } from '../access/owner.ts';
import { readRelayRequest } from '../relay/relay-request.ts';
import { openScanner } from '../http/request-body.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import { findRoute, pathPrefixes } from '../http/route.ts';
import type { GatewayStream } from '../stream/stream.ts';
import { lowerCased } from './frame-headers.ts';
import type { Carrier } from './carrier.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionResponseOptions } from './session-response.ts';
import { type OpenRoom, SessionStream } from './session-stream.ts';

type Frame<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** Sends a request to a provider as HTTP would, and reads the answer. Errors are the answer, too. */
export function openRequest(
  session: Carrier<SessionStream>,
  frame: Frame<'request'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { config, guard, isReady, keys, memory, providers, relay } = options;
  const target = readTarget(frame.path);
  const route = findRoute(frame.method, target ?? '/', headers);
  // Without room for what it has sent so far, the session is over.
  if (!session.meet(headers, route.queryKey)) return;
  let stream: GatewayStream;
  let hold: BodyHold | undefined;
  try {
    if (!isReady()) throw shuttingDown();
    if (target === undefined) throw targetRefusal(frame.path);
    const refusal = guard.keyRefusal(headers, route.queryKey);
    if (refusal !== undefined) throw refusal;
    if (!pathPrefixes.some((prefix) => route.path.startsWith(prefix))) {
      throw new GatewayError('not_found', `There is no POST ${route.path} here.`);
    }
    const body = Buffer.from(frame.body);
    const maxBytes = Math.min(config.maxRequestBytes, memory.maxOwnerBytes);
    if (body.length > maxBytes) throw tooLarge(maxBytes);
    const contentType = headers['content-type'];
    const received = ReceivedBody.whole(body, openScanner(route, contentType));
    const request = readRelayRequest({ route, method: frame.method, contentType, body: received }, providers);
    const owner = ownerOf(keys, request.provider, headers, route.queryKey);
    const { address, agent } = session;
    hold = memory.hold(keys.areRequired ? owner : address);
    if (!hold.grow(body.length)) {
      throw overloaded(`Request bodies hold ${config.maxRequestMemoryBytes} bytes (maxRequestMemoryBytes).`);
    }
    request.body.release = hold.release;
    // From here on the provider may be asked.
    session.lastRequest = frame.stream;
    stream = relay.open(request, { headers, address, agent, owner });
  } catch (error) {
    hold?.release();
    refuse(session, frame, asGatewayError(error));
    return;
  }
  const response = { format: route.errors, answersErrors: true, answersOnly: readsAnswersOnly(headers) };
  const opened = openStream(session, frame, response, options);
  // Its stream has a place for it, or room when its model is done.
  opened.attach(stream, session, {}, () => ({ release: () => undefined }));
}

/** Reads a stream that somebody with the same key has opened. */
export function openRead(
  session: Carrier<SessionStream>,
  frame: Frame<'read'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { maxBytes, merges, overflow, url } = frame;
  const { windowBytes } = options.config;
  if (!session.meet(headers, undefined)) return;
  const stream = options.find(/^\/streams\/([\w-]+)$/.exec(url)?.[1] ?? '', headers);
  if (stream === undefined) {
    refuse(session, frame, new GatewayError('not_found', 'There is no such stream.'));
    return;
  }
  // Its start may be gone, which has to be said.
  const from = frame.from === 'start' ? 0 : frame.from;
  const response = {
    format: stream.errors,
    answersErrors: false,
    answersOnly: readsAnswersOnly(headers),
    ...(from === 'now' ? {} : { from }),
  };
  const opened = openStream(session, frame, response, options);
  const losesNothing = overflow === 'coalesce' || overflow === 'block';
  const { address } = session;
  const openRoom: OpenRoom = () =>
    options.retained.keepReader(
      options.keys.areRequired ? stream.owner : address,
      opened.response.windowBytes,
    );
  const bound = { maxBytes: Math.min(maxBytes ?? windowBytes, windowBytes) };
  opened.attach(stream, session, { from, overflow, merges, ...bound }, losesNothing ? openRoom : undefined);
}

/**
 * Goes on with a reader of an earlier connection. One that is not there, or cannot go on where its client is, is that stream's
 * error alone.
 */
export function resumeReader(
  session: Carrier<SessionStream>,
  frame: Frame<'resume'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { keys, meter, readers } = options;
  if (!session.meet(headers, undefined)) return;
  const known = readers.get(frame.reader);
  const stream = known?.stream;
  if (known === undefined || stream === undefined || !isOwner(keys, stream, headers)) {
    meter.resumes.refused += 1;
    refuse(session, frame, isMissing(session, frame, options) ? notArrived() : unknownReader());
    return;
  }
  const before = known.session;
  session.take(known, frame.stream);
  if (before !== undefined && before !== session && before.isUnused) before.end('taken_over');
  const isResumed = known.rebind(frame.offset, frame.acked);
  meter.resumes[isResumed ? 'resumed' : 'refused'] += 1;
  if (isResumed) return;
  known.abandon();
  refuse(session, frame, unknownReader());
}

/** Whether the reader's request surely did not arrive. */
function isMissing(
  session: Carrier<SessionStream>,
  { request, session: id }: Frame<'resume'>,
  { arrivals }: SessionContext,
): boolean {
  if (id === undefined || request === undefined) return false;
  return arrivals.isMissing(id, request, session, performance.now());
}

function unknownReader(): GatewayError {
  return new GatewayError('unknown_reader', 'There is no such reader, or it cannot go on there.');
}

function notArrived(): GatewayError {
  return new GatewayError('not_arrived', 'The request did not arrive: it may be sent again.');
}

/** Somebody has chosen that name already. */
export function takenName(): GatewayError {
  return new GatewayError('invalid_request', 'reader: expected a name that no other reader has.');
}

/** Says that nothing is opened. Nothing is kept of it: there is nothing to come back to. */
export function refuse(
  session: Carrier<SessionStream>,
  frame: Frame<'read' | 'request' | 'resume'>,
  error: GatewayError,
): void {
  const { stream } = frame;
  if (frame.type !== 'request') {
    const { code, message } = error;
    const offset = frame.type === 'resume' ? frame.offset : 0;
    session.send({ type: 'error', stream, code, message, offset });
    return;
  }
  const { errors } = findRoute(frame.method, frame.path, lowerCased(frame.headers));
  session.send({ type: 'response', stream, url: '', status: error.status, headers: errorHeaders(error) });
  session.sendData(stream, 0, 0, Buffer.from(errors.errorBody(error)));
  session.send({ type: 'end', stream, state: error.isCancel ? 'cancelled' : 'failed' });
}

/** A reader under the name and the number that the client gave it. */
function openStream(
  session: Carrier<SessionStream>,
  { reader, stream, windowBytes }: Frame<'read' | 'request'>,
  response: Pick<SessionResponseOptions, 'answersErrors' | 'answersOnly' | 'format' | 'from'>,
  { config, readers }: SessionContext,
): SessionStream {
  const window = { windowBytes: Math.min(windowBytes, config.windowBytes), askedWindowBytes: windowBytes };
  const opened = new SessionStream({ ...response, ...window }, () => readers.delete(reader));
  readers.set(reader, opened);
  session.take(opened, stream);
  opened.response.bind(session, stream, 0, 0);
  return opened;
}
