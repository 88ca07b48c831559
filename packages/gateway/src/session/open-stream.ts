import type { ClientFrame } from '@spillway/core/session';
import type { IncomingHttpHeaders } from 'node:http';
import { apis } from '../api.ts';
import { asGatewayError, GatewayError, overloaded, shuttingDown } from '../errors.ts';
import { ownerOf } from '../owner.ts';
import { readRelayRequest } from '../relay-request.ts';
import { findRoute, pathPrefixes } from '../route.ts';
import type { Session } from './session.ts';
import type { SessionsOptions } from './sessions.ts';
import { SessionStream } from './session-stream.ts';

type Frame<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** Sends a request to a provider as HTTP would, and reads the answer. Errors are the answer, too. */
export function openRequest(
  session: Session,
  frame: Frame<'request'>,
  headers: IncomingHttpHeaders,
  { guard, isReady, keys, memory, providers, readers, relay, config }: SessionsOptions,
): void {
  const route = findRoute(frame.method, frame.path, headers);
  const windowBytes = Math.min(frame.windowBytes, config.windowBytes);
  const opened = new SessionStream({ format: route.errors, answersErrors: true, windowBytes }, () =>
    readers.delete(frame.reader),
  );
  readers.set(frame.reader, opened);
  session.take(opened, frame.stream);
  opened.response.bind(session, frame.stream, 0, 0);
  try {
    if (!isReady()) throw shuttingDown();
    const refusal = guard.keyRefusal(headers, route.queryKey);
    if (refusal !== undefined) throw refusal;
    if (!pathPrefixes.some((prefix) => route.path.startsWith(prefix))) {
      throw new GatewayError('not_found', `There is no POST ${route.path} here.`);
    }
    const body = Buffer.from(frame.body);
    const contentType = headers['content-type'];
    const request = readRelayRequest(route, frame.method, contentType, body, providers);
    const release = memory.reserve(body.length);
    if (release === undefined) {
      throw overloaded(`Request bodies hold ${config.maxRequestMemoryBytes} bytes (maxRequestMemoryBytes).`);
    }
    const owner = ownerOf(keys, request.provider, headers, route.queryKey);
    const stream = relay.open(request, headers, owner, release);
    opened.attach(stream, session, {}, true);
  } catch (error) {
    opened.response.fail(asGatewayError(error));
  }
}

/** Reads a stream that somebody with the same key has opened. */
export function openRead(
  session: Session,
  frame: Frame<'read'>,
  headers: IncomingHttpHeaders,
  { config, keys, readers, streams }: SessionsOptions,
): void {
  const windowBytes = Math.min(frame.windowBytes, config.windowBytes);
  const token = /^\/streams\/([\w-]+)$/.exec(frame.url)?.[1] ?? '';
  const stream = streams.find(token);
  const isTheirs =
    stream !== undefined && ownerOf(keys, stream.provider, headers, undefined) === stream.owner;
  const format = isTheirs ? apis[stream.provider.api].errors : apis.openai.errors;
  const opened = new SessionStream({ format, answersErrors: false, windowBytes }, () =>
    readers.delete(frame.reader),
  );
  readers.set(frame.reader, opened);
  session.take(opened, frame.stream);
  opened.response.bind(session, frame.stream, 0, 0);
  if (!isTheirs) {
    opened.response.fail(new GatewayError('not_found', 'There is no such stream.'));
    return;
  }
  const { overflow } = frame;
  // Its start may be gone, which has to be said.
  const from = frame.from === 'start' ? 0 : frame.from;
  opened.attach(stream, session, { from, overflow, maxBytes: config.windowBytes }, overflow === 'coalesce');
}
