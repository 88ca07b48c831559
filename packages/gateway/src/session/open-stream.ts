import type { ClientFrame } from '@spillway/core/session';
import type { IncomingHttpHeaders } from 'node:http';
import { readsAnswersOnly } from '../http/answers-only.ts';
import {
  asGatewayError,
  errorHeaders,
  GatewayError,
  noSuchStream,
  overloaded,
  shuttingDown,
} from '../errors.ts';
import { tooLarge } from '../http/receive-body.ts';
import { ReceivedBody } from '../http/received-body.ts';
import { readTarget, targetRefusal } from '../http/request-target.ts';
import { invalidApiKey } from '../access/guard.ts';
import { holderOf, isOwner } from '../access/owner.ts';
import { readRelayRequest } from '../relay/relay-request.ts';
import { openScanner } from '../http/request-body.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import { findRoute, noSuchPath, pathPrefixes } from '../http/route.ts';
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
  const { config, guard, isReady, memory, providers, relay } = options;
  const target = readTarget(frame.path);
  const route = findRoute(frame.method, target ?? '/', headers);
  const caller = guard.identify(headers, route.queryKey);
  // Without room for what it has sent so far, the session is over.
  if (!session.meet(caller)) return;
  let stream: GatewayStream;
  let hold: BodyHold | undefined;
  try {
    if (!isReady()) throw shuttingDown();
    if (target === undefined) throw targetRefusal(frame.path);
    if (caller === undefined) throw invalidApiKey();
    if (!pathPrefixes.some((prefix) => route.path.startsWith(prefix))) {
      throw noSuchPath(`POST ${route.path}`);
    }
    const body = Buffer.from(frame.body);
    const maxBytes = Math.min(config.maxRequestBytes, memory.maxOwnerBytes);
    if (body.length > maxBytes) throw tooLarge(maxBytes);
    const contentType = headers['content-type'];
    const received = ReceivedBody.whole(body, openScanner(route, contentType));
    const request = readRelayRequest({ route, method: frame.method, contentType, body: received }, providers);
    const { address, agent } = session;
    hold = memory.hold(holderOf(caller, address));
    if (!hold.grow(body.length)) {
      throw overloaded(`Request bodies hold ${config.maxRequestMemoryBytes} bytes (maxRequestMemoryBytes).`);
    }
    request.body.release = hold.release;
    // From here on the provider may be asked.
    session.lastRequest = frame.stream;
    stream = relay.open(request, { headers, address, agent, caller });
  } catch (error) {
    hold?.release();
    refuse(session, frame, asGatewayError(error));
    return;
  }
  const response = { format: route.errors, answersErrors: true, answersOnly: readsAnswersOnly(headers) };
  const opened = openStream(session, frame, response, options);
  // Its stream has a place for it, or room when its model is done.
  opened.attach(stream, session, { name: frame.reader }, () => ({ release: () => undefined }));
}

/** Reads a stream that the same caller has opened. */
export function openRead(
  session: Carrier<SessionStream>,
  frame: Frame<'read'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { maxBytes, merges, overflow, reader: name, url } = frame;
  const { windowBytes } = options.config;
  const caller = options.guard.identify(headers, undefined);
  if (!session.meet(caller)) return;
  const token = /^\/streams\/([\w-]+)$/.exec(url)?.[1] ?? '';
  const stream = caller && options.find(token, caller, headers);
  if (caller === undefined || stream === undefined) {
    refuse(session, frame, noSuchStream());
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
    options.retained.keepReader(holderOf(caller, address), opened.response.windowBytes);
  const bound = { maxBytes: Math.min(maxBytes ?? windowBytes, windowBytes) };
  opened.attach(
    stream,
    session,
    { name, from, overflow, merges, ...bound },
    losesNothing ? openRoom : undefined,
  );
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
  const { guard, meter, readers } = options;
  const caller = guard.identify(headers, undefined);
  if (!session.meet(caller)) return;
  const known = readers.get(frame.reader);
  const stream = known?.stream;
  const isOurs = caller !== undefined && stream !== undefined && isOwner(caller, stream, headers);
  if (known === undefined || !isOurs) {
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
