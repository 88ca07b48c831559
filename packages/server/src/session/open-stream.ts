import { openaiChat } from '@spillway/core/format/openai-chat';
import type { ClientFrame } from '@spillway/core/session';
import type { IncomingHttpHeaders } from 'node:http';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { asGatewayError, GatewayError, noSuchStream, shuttingDown } from '../errors.ts';
import { type Caller, holderOf } from '../access/caller.ts';
import { requestIdHeader } from '../http/request-id.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { Carrier } from './carrier.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionRequest, SessionRequests } from './session-requests.ts';
import type { SessionResponseOptions } from './session-response-options.ts';
import { type OpenRoom, SessionReader } from './session-reader.ts';

type Frame<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** The headers of a frame as Node gives those of a request, and the id that the session gave to the frame. */
export interface FrameHead {
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
}

/** Opens a stream for a request as HTTP would, and reads the answer. An error becomes the answer, too. */
export function openRequest(
  session: Carrier<SessionReader>,
  frame: Frame<'request'>,
  head: FrameHead,
  options: SessionContext,
): void {
  const { headers, requestId } = head;
  const { guard, isReady } = options;
  const request = readRequest(frame, headers, options);
  const caller = guard.identify(headers, request.queryKey);
  // `meet` has ended the session: there is no room for the bytes that it has sent so far.
  if (!session.meet(caller)) return;
  let stream: GatewayStream;
  try {
    if (!isReady()) throw shuttingDown();
    if (caller === undefined) throw guard.keyRefusal(headers, request.queryKey);
    const { address, agent } = session;
    stream = request.open(frame.body, { headers, address, agent, caller, requestId });
    // Requests of this session up to this number count as arrived.
    session.lastRequest = frame.stream;
  } catch (error) {
    refuse(session, frame, head, asGatewayError(error), options, caller);
    return;
  }
  const response = {
    format: request.errors,
    requestId,
    answersErrors: true,
    answersOnly: readsAnswersOnly(headers),
  };
  const opened = openStream(session, frame, response, options);
  // A lost reader of a request needs no extra room: its stream has a place of maxStreams, or room of its own after
  // its end.
  opened.attach(stream, session, { name: frame.reader, requestId }, () => ({ release: () => undefined }));
}

/** Reads a request. Without `requests` in the options, every request is refused. */
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
  head: FrameHead,
  options: SessionContext,
): void {
  const { headers, requestId } = head;
  const { maxBytes, merges, overflow, reader: name, url } = frame;
  const { windowBytes } = options.config;
  const caller = options.guard.identify(headers, undefined);
  if (!session.meet(caller)) return;
  const token = /^\/streams\/([\w-]+)$/.exec(url)?.[1] ?? '';
  const stream = caller && options.find(token, caller, headers);
  if (caller === undefined || stream === undefined) {
    refuse(session, frame, head, noSuchStream(), options, caller);
    return;
  }
  // An offset of 0 instead of `start`: if the start is gone, the client gets an error.
  const from = frame.from === 'start' ? 0 : frame.from;
  const response = {
    format: stream.errors,
    requestId,
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
    { name, from, overflow, merges, requestId, ...bound },
    losesNothing ? openRoom : undefined,
  );
}

/**
 * Resumes a reader of an earlier connection. If there is none, or it cannot go on at the client's offset, only that
 * stream gets an error.
 */
export function resumeReader(
  session: Carrier<SessionReader>,
  frame: Frame<'resume'>,
  head: FrameHead,
  options: SessionContext,
): void {
  const { headers } = head;
  const { guard, meter, readers } = options;
  const caller = guard.identify(headers, undefined);
  if (!session.meet(caller)) return;
  const known = readers.get(frame.reader);
  const stream = known?.stream;
  const isOurs = caller !== undefined && stream?.mayRead({ caller, headers }) === true;
  if (known === undefined || !isOurs) {
    meter.resumes.refused += 1;
    const error = isMissing(session, frame, options) ? notArrived() : unknownReader();
    refuse(session, frame, head, error, options, caller);
    return;
  }
  const before = known.session;
  session.take(known, frame.stream);
  if (before !== undefined && before !== session && before.isUnused) before.close('taken_over');
  const isResumed = known.rebind(frame.offset, frame.acked);
  meter.resumes[isResumed ? 'resumed' : 'refused'] += 1;
  if (isResumed) return;
  known.closeUnresumed();
  refuse(session, frame, head, unknownReader(), options, caller);
}

/** Whether the reader's request certainly did not arrive. */
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

/** The error of a reader name that is in use. */
export function takenName(): GatewayError {
  return new GatewayError('invalid_request', 'reader: expected a name that no other reader has.');
}

/** Answers a frame with an error. No stream is opened, so a client cannot come back to it. */
export function refuse(
  session: Carrier<SessionReader>,
  frame: Frame<'read' | 'request' | 'resume'>,
  { headers, requestId }: FrameHead,
  error: GatewayError,
  options: SessionContext,
  caller?: Caller,
): void {
  const { stream } = frame;
  const isRequest = frame.type === 'request';
  options.onRefused?.({
    requestId,
    address: session.address,
    caller,
    headers,
    method: isRequest ? frame.method : frame.type,
    path: isRequest ? frame.path : '/streams',
    error,
  });
  if (!isRequest) {
    const { code, message } = error;
    const offset = frame.type === 'resume' ? frame.offset : 0;
    session.send({ type: 'error', stream, code, message, offset, request: requestId });
    return;
  }
  const { errors } = readRequest(frame, headers, options);
  const answer = error.answer(errors, requestId);
  const sent = { ...answer.headers, [requestIdHeader]: requestId };
  session.send({ type: 'response', stream, url: '', status: error.status, headers: sent });
  session.sendData(stream, 0, 0, answer.body);
  session.send({ type: 'end', stream, state: error.isCancel ? 'cancelled' : 'failed' });
}

/** Opens a reader under the name and the number that the client chose. */
function openStream(
  session: Carrier<SessionReader>,
  { reader, stream, windowBytes, windowMs }: Frame<'read' | 'request'>,
  response: Pick<SessionResponseOptions, 'answersErrors' | 'answersOnly' | 'format' | 'from' | 'requestId'>,
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
