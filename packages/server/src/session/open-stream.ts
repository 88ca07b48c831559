import { openaiChat } from '@spillway/core/format/openai-chat';
import type { ClientFrame } from '@spillway/core/session';
import type { IncomingHttpHeaders } from 'node:http';
import { readsAnswersOnly } from '../http/answers-only.ts';
import {
  asGatewayError,
  errorHeaders,
  GatewayError,
  invalidApiKey,
  noSuchStream,
  shuttingDown,
} from '../errors.ts';
import { holderOf } from '../access/caller.ts';
import type { GatewayStream } from '../stream/stream.ts';
import { lowerCased } from './frame-headers.ts';
import type { Carrier } from './carrier.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionRequest, SessionRequests } from './session-requests.ts';
import type { SessionResponseOptions } from './session-response-options.ts';
import { type OpenRoom, SessionReader } from './session-reader.ts';

type Frame<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** Opens a stream for a request as HTTP would, and reads the answer. Errors are the answer, too. */
export function openRequest(
  session: Carrier<SessionReader>,
  frame: Frame<'request'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { guard, isReady } = options;
  const request = readRequest(frame, headers, options);
  const caller = guard.identify(headers, request.queryKey);
  // Without room for what it has sent so far, the session is over.
  if (!session.meet(caller)) return;
  let stream: GatewayStream;
  try {
    if (!isReady()) throw shuttingDown();
    if (caller === undefined) throw invalidApiKey();
    const { address, agent } = session;
    stream = request.open(frame.body, { headers, address, agent, caller });
    // What is asked for now has arrived.
    session.lastRequest = frame.stream;
  } catch (error) {
    refuse(session, frame, asGatewayError(error), options);
    return;
  }
  const response = { format: request.errors, answersErrors: true, answersOnly: readsAnswersOnly(headers) };
  const opened = openStream(session, frame, response, options);
  // Its stream has a place for it, or room when its model is done.
  opened.attach(stream, session, { name: frame.reader }, () => ({ release: () => undefined }));
}

/** Where nobody answers requests, they are refused. */
function readRequest(
  { method, path }: Pick<Frame<'request'>, 'method' | 'path'>,
  headers: IncomingHttpHeaders,
  { requests = none }: SessionContext,
): SessionRequest {
  return requests.read({ method, path, headers });
}

const none: SessionRequests = {
  read: () => ({
    errors: openaiChat,
    queryKey: undefined,
    open() {
      throw new GatewayError('not_found', 'Nobody answers requests here: only streams can be read.');
    },
  }),
};

/** Reads a stream that the same caller has opened. */
export function openRead(
  session: Carrier<SessionReader>,
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
    refuse(session, frame, noSuchStream(), options);
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
  session: Carrier<SessionReader>,
  frame: Frame<'resume'>,
  headers: IncomingHttpHeaders,
  options: SessionContext,
): void {
  const { guard, meter, readers } = options;
  const caller = guard.identify(headers, undefined);
  if (!session.meet(caller)) return;
  const known = readers.get(frame.reader);
  const stream = known?.stream;
  const isOurs = caller !== undefined && stream?.mayRead({ caller, headers }) === true;
  if (known === undefined || !isOurs) {
    meter.resumes.refused += 1;
    refuse(session, frame, isMissing(session, frame, options) ? notArrived() : unknownReader(), options);
    return;
  }
  const before = known.session;
  session.take(known, frame.stream);
  if (before !== undefined && before !== session && before.isUnused) before.end('taken_over');
  const isResumed = known.rebind(frame.offset, frame.acked);
  meter.resumes[isResumed ? 'resumed' : 'refused'] += 1;
  if (isResumed) return;
  known.abandon();
  refuse(session, frame, unknownReader(), options);
}

/** Whether the reader's request surely did not arrive. */
function isMissing(
  session: Carrier<SessionReader>,
  { request, session: id }: Frame<'resume'>,
  { arrivals, clock }: SessionContext,
): boolean {
  if (id === undefined || request === undefined) return false;
  return arrivals.isMissing(id, request, session, clock.nowMs());
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
  session: Carrier<SessionReader>,
  frame: Frame<'read' | 'request' | 'resume'>,
  error: GatewayError,
  options: SessionContext,
): void {
  const { stream } = frame;
  if (frame.type !== 'request') {
    const { code, message } = error;
    const offset = frame.type === 'resume' ? frame.offset : 0;
    session.send({ type: 'error', stream, code, message, offset });
    return;
  }
  const { errors } = readRequest(frame, lowerCased(frame.headers), options);
  session.send({ type: 'response', stream, url: '', status: error.status, headers: errorHeaders(error) });
  session.sendData(stream, 0, 0, Buffer.from(errors.errorBody(error)));
  session.send({ type: 'end', stream, state: error.isCancel ? 'cancelled' : 'failed' });
}

/** A reader under the name and the number that the client gave it. */
function openStream(
  session: Carrier<SessionReader>,
  { reader, stream, windowBytes, windowMs }: Frame<'read' | 'request'>,
  response: Pick<SessionResponseOptions, 'answersErrors' | 'answersOnly' | 'format' | 'from'>,
  { clock, config, readers }: SessionContext,
): SessionReader {
  const window = {
    windowBytes: Math.min(windowBytes, config.windowBytes),
    askedWindowBytes: windowBytes,
    windowMs,
  };
  const opened = new SessionReader({ ...response, ...window, clock }, () => readers.delete(reader));
  readers.set(reader, opened);
  session.take(opened, stream);
  opened.response.bind(session, stream, 0, 0);
  return opened;
}
