import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '@spillway/core/clock';
import { GatewayError } from '@spillway/server/errors';
import { type ClientOptions, WebSocket } from 'ws';
import type { Transport } from '../config/transport.ts';
import { RefusedError } from '../http/error-shapes.ts';
import { clientHeaders } from '../http/headers.ts';
import { upstreamRequestId } from '../http/request-ids.ts';
import { asUnreachable } from '../provider/open-reply.ts';
import { maxRefusalBytes } from '../provider/retry-hints.ts';
import { ConnectTimeoutError, UnsentError } from '../source/exchange.ts';
import { Dial } from '../source/undici/dial.ts';
import type { RealtimeSocket } from './realtime-socket.ts';
import { socketBounds } from './socket-bounds.ts';

/** What to connect to. */
export interface ProviderSocketOptions {
  /** The provider's origin, `http:` or `https:`. */
  readonly origin: URL;
  /** The path with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly transport: Transport | undefined;
  /** How long it may take until the provider has accepted or refused. */
  readonly connectTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** How long the provider may take to answer a close frame. */
  readonly closeTimeoutMs: number;
  readonly clock: Pick<Clock, 'after'>;
  readonly signal: AbortSignal;
}

/** A conversation that a provider has accepted. */
export interface ProviderSocket extends RealtimeSocket {
  /** The provider's own id of the request. */
  readonly requestId: string | undefined;
}

const noTransport: Transport = { id: '', http2: false, proxy: undefined, secureContext: undefined };

/**
 * Opens a conversation at a provider. Nothing of it is read before the socket's `resume`.
 *
 * @throws {GatewayError} the provider's own refusal, as it sent it; the errors of requests to providers.
 * @throws the signal's reason as soon as it is aborted.
 */
export function openProviderSocket(options: ProviderSocketOptions): Promise<ProviderSocket> {
  const { clock, closeTimeoutMs, connectTimeoutMs, headers, maxHeaderBytes, origin, path, signal } = options;
  const { promise, reject, resolve } = Promise.withResolvers<ProviderSocket>();
  let dial: Dial | undefined;
  let answer: { readonly socket: Socket; readonly headers: IncomingHttpHeaders } | undefined;
  // HTTP/2 has no upgrade, and its WebSockets are others.
  const transport = { ...(options.transport ?? noTransport), http2: false };
  // The types do not know what a function that calls back later returns: nothing.
  const connect = (_options: unknown, onDialled: (error: Error | null, socket: Socket) => void): void => {
    const limits = { connectTimeoutMs, maxHeaderBytes };
    dial = new Dial(origin, { transport, tls: { session: undefined }, limits }, (error, socket) => {
      if (error !== null) fail(asUnreachable(new UnsentError(error)));
      else onDialled(error, socket as Socket);
    });
  };
  const socketOptions = {
    ...socketBounds,
    headers,
    maxHeaderSize: maxHeaderBytes,
    closeTimeout: closeTimeoutMs,
    createConnection: connect as unknown as ClientOptions['createConnection'],
  };
  const webSocket = new WebSocket(`${origin.origin.replace(/^http/, 'ws')}${path}`, socketOptions);
  const fail = (error: unknown): void => {
    reject(error instanceof Error ? error : new Error(String(error)));
    dial?.destroy();
    webSocket.terminate();
  };
  const onAbort = (): void => fail(signal.reason);
  const timer = clock.after(connectTimeoutMs, () =>
    fail(asUnreachable(new ConnectTimeoutError('no answer to the upgrade'))),
  );
  const settle = (): void => {
    timer.stop();
    signal.removeEventListener('abort', onAbort);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  webSocket.on('upgrade', ({ headers: answered, socket }) => (answer = { headers: answered, socket }));
  webSocket.on('open', () => {
    webSocket.pause();
    if (answer === undefined) throw new TypeError('A WebSocket opens with an answer.');
    resolve({ webSocket, socket: answer.socket, requestId: upstreamRequestId(answer.headers) });
  });
  webSocket.on('unexpected-response', (_request, response) => {
    refusalOf(response).then(fail, fail);
  });
  // A late error has nobody to be told: whoever has the socket sees its close.
  webSocket.on('error', (error) => fail(asProviderError(error)));
  if (signal.aborted) onAbort();
  return promise.finally(settle);
}

/** An answer other than a WebSocket: with an error's status, the client gets it as it is. */
async function refusalOf(response: IncomingMessage): Promise<GatewayError> {
  const { headers, statusCode: status = 0, statusMessage: reason = '' } = response;
  if (status < 400) {
    return new GatewayError(
      'upstream_invalid',
      `The provider answered with status ${status}: expected 101, a WebSocket.`,
    );
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes > maxRefusalBytes) break;
  }
  const error = new GatewayError('upstream_invalid', `The provider answered with status ${status}.`, {
    status,
  });
  const body = bytes > maxRefusalBytes ? undefined : Buffer.concat(parts);
  return new RefusedError(error, { reason, headers: clientHeaders(headers), body, words: '' });
}

function asProviderError(error: Error): GatewayError {
  const { message } = error;
  // What is wrong with a handshake, in the words of `ws`; its errors have no code.
  if (/^(?:Invalid|Server sent)/.test(message))
    return new GatewayError('upstream_invalid', `The provider's answer is no WebSocket's: ${message}.`);
  return asUnreachable(error);
}
