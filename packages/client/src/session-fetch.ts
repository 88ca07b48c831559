import type { Address } from './address.ts';
import { toBody } from './body.ts';
import type { ClientOptions } from './client-options.ts';
import { ClientError } from './errors.ts';
import { mergeHeaders } from './headers.ts';
import { notify } from './notify.ts';
import type { StreamRequestInit } from './reader-init.ts';
import type { SessionStream } from './session-stream.ts';
import { isStreamRequest, textOf } from './stream-request.ts';

/** A function with the type of `fetch`, and with a connection that can be closed. */
export type SpillwayFetch = typeof globalThis.fetch &
  AsyncDisposable & {
    /**
     * Closes the connection, and ends the streams that still run, with the code `closed`. An idle connection closes by
     * itself.
     */
    close(): Promise<void>;
  };

export interface SessionFetchOptions {
  readonly options: ClientOptions;
  readonly address: Address;
  readonly request: (path: string, init: StreamRequestInit) => SessionStream;
  readonly close: () => Promise<void>;
}

/** Makes a `fetch` that streams over a session. */
export function createSessionFetch({
  address,
  close,
  options,
  request: openStream,
}: SessionFetchOptions): SpillwayFetch {
  const plainFetch = options.fetch ?? globalThis.fetch;

  async function spillwayFetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const request = isRequest(input) ? input : undefined;
    const path = address.pathOf(urlOf(input));
    const url = address.urlOf(path);
    const method = (init.method ?? request?.method ?? 'GET').toUpperCase();
    const headers = mergeHeaders(options.headers, init.headers ?? request?.headers);
    const signal = init.signal ?? request?.signal;
    const ownBody = request !== undefined && init.body === undefined ? await bodyOf(request) : init.body;
    const plain = (): Promise<Response> =>
      plainFetch(url, { ...(request && optionsOf(request, ownBody)), ...init, headers });

    const body = textOf(ownBody);
    if (body === undefined || !isStreamRequest({ method, path, body })) return plain();
    signal?.throwIfAborted();
    // `fetch` sets this header for text, too.
    if (typeof ownBody === 'string' && !headers.has('content-type')) {
      headers.set('content-type', 'text/plain;charset=UTF-8');
    }
    const stream = openStream(path, { headers, body, autoAck: true, ...(signal && { signal }) });
    try {
      return await toResponse(stream, url);
    } catch (error) {
      if (!goesByHttp(error, stream)) throw error;
      notify(options.onEvent, { type: 'fallback', code: error.code });
      return plain();
    }
  }

  return withClose(spillwayFetch, close);
}

/** Whether the input is a `Request`, also one of another realm or of a polyfill. */
function isRequest(input: RequestInfo | URL): input is Request {
  return typeof input === 'object' && 'url' in input;
}

function urlOf(input: RequestInfo | URL): string {
  if (typeof input === 'string') return input;
  return isRequest(input) ? input.url : input.href;
}

/** The body of a request. A JSON body may ask for a stream, so it has to be read. Any other body goes on unread. */
function bodyOf(request: Request): ArrayBuffer | Promise<ArrayBuffer> | ReadableStream | null {
  const isJson = request.headers.get('content-type')?.includes('json') === true;
  return isJson && request.body !== null ? request.arrayBuffer() : request.body;
}

/** The options for the same request to another address. The request's own body may be used up already. */
function optionsOf(request: Request, body: BodyInit | null | undefined): RequestInit {
  const { cache, credentials, integrity, keepalive, method, redirect, signal } = request;
  const isStream = body instanceof ReadableStream;
  return {
    cache,
    credentials,
    integrity,
    keepalive,
    method,
    redirect,
    signal,
    body: body ?? null,
    // A browser sends a stream as a body only with this option.
    ...(isStream && { duplex: 'half' }),
  };
}

/** Whether the request was not sent, because it cannot go over the session. */
function goesByHttp(error: unknown, stream: SessionStream): error is ClientError {
  if (!(error instanceof ClientError) || stream.wasSent) return false;
  return ['message_too_large', 'no_session', 'too_many_streams'].includes(error.code);
}

async function toResponse(stream: SessionStream, url: string): Promise<Response> {
  const head = await stream.response;
  const { headers, status } = head;
  if (head.url !== '' && !headers.has('content-location')) headers.set('content-location', head.url);
  // A `Response` with one of these statuses cannot have a body, not even an empty one.
  const isBodyless = status === 204 || status === 205 || status === 304;
  if (isBodyless) stream.detach();
  const response = new Response(isBodyless ? null : toBody(stream), { status, headers });
  Object.defineProperty(response, 'url', { value: url });
  return response;
}

/** Adds `close` to a `fetch`. */
export function withClose(
  fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>,
  close: () => Promise<void>,
): SpillwayFetch {
  return Object.assign(fetch, { close, [Symbol.asyncDispose]: close });
}
