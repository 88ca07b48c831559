import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError, overloaded } from '@spillway/server/errors';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import type { Scanner } from './body-scanner.ts';
import { ReceivedBody } from './received-body.ts';

/** What may stand around the chunks of a body, beside a quarter of its own bytes: some 200,000 chunks, however small. */
const maxFramingBytes = 1_048_576;

export interface ReceiveOptions {
  /** The room that it takes; given back when it does not come whole. */
  readonly hold: BodyHold;
  /** One that is larger is refused: at once when its length says so, else when more has come. */
  readonly maxBytes: number;
  /** Finds out what it asks for, as it comes; `undefined`: nobody does. */
  readonly scanner: Scanner | undefined;
  /** In each such time so much of it has to come that it is not slower than `minBytesPerSecond`; 0: anything at all. */
  readonly timeoutMs: number;
  readonly minBytesPerSecond: number;
}

/** Whether a request says that it has a body. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * Reads the body of a request; `null`: it has none. What is announced costs nothing, what has come is held. One read of
 * the socket a turn of the event loop, so that a body that comes fast does not keep others waiting. A chunk costs Node
 * more than a hundred of its bytes, so what is next to nothing but the frames of chunks is refused. It may take as long as it likes,
 * as long as it goes on: a recording over a slow link takes minutes.
 *
 * @throws {GatewayError} `request_too_large`; `overloaded` when there is no room for what came; `invalid_request`;
 *   `request_timeout`; `client_left`.
 */
export async function receiveBody(
  request: IncomingMessage,
  response: ServerResponse,
  { hold, maxBytes, minBytesPerSecond, scanner, timeoutMs }: ReceiveOptions,
): Promise<ReceivedBody | null> {
  if (!hasBody(request)) return null;
  const { expect, 'content-length': announced = '0' } = request.headers;
  if (Number(announced) > maxBytes) throw tooLarge(maxBytes);
  if (expect !== undefined && request.httpVersion === '1.1') response.writeContinue();
  const body = new ReceivedBody({
    takeRoom: hold.grow,
    scanner,
    expectedBytes: Number(announced) || Infinity,
  });
  const { socket } = request;
  const startBytes = socket.bytesRead;
  const minBytes = Math.max(1, Math.ceil((minBytesPerSecond * timeoutMs) / 1000));
  let dueBytes = minBytes;
  const isWhole = Promise.withResolvers<void>();
  const timer = setTimeout(() => isWhole.reject(tooSlow(minBytes, timeoutMs)), timeoutMs);
  const take = (bytes: Buffer): void => {
    if (body.byteLength + bytes.length > maxBytes) throw tooLarge(maxBytes);
    if (!body.add(bytes)) throw overloaded('This client holds its share of maxRequestMemoryBytes.');
    if (socket.bytesRead - startBytes > maxFramingBytes + 1.25 * body.byteLength) throw tooSmallChunks();
    if (body.byteLength < dueBytes) return;
    dueBytes = body.byteLength + minBytes;
    timer.refresh();
  };
  const stop = takePieces(request, take, isWhole);
  try {
    await isWhole.promise;
  } catch (error) {
    hold.release();
    throw error;
  } finally {
    clearTimeout(timer);
    stop();
  }
  return body.byteLength === 0 ? null : body;
}

/** Hands over what comes of a request, a piece a turn. Returns what stops it; the request itself is still to be answered. */
function takePieces(
  request: IncomingMessage,
  take: (bytes: Buffer) => void,
  { reject, resolve }: Pick<PromiseWithResolvers<void>, 'reject' | 'resolve'>,
): () => void {
  const resume = (): void => void request.resume();
  let turn: NodeJS.Immediate | undefined;
  const onData = (bytes: Buffer): void => {
    try {
      take(bytes);
      if (request.complete) return;
      request.pause();
      turn = setImmediate(resume);
    } catch (error) {
      reject(error);
    }
  };
  const onEnd = (): void => resolve();
  const onError = (cause: Error): void => reject(clientLeft(cause));
  const onClose = (): void => reject(clientLeft(undefined));
  request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  // Then nothing of that comes any more.
  if (request.destroyed) onClose();
  return () => {
    clearImmediate(turn);
    request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    request.pause();
  };
}

/** The answer to a body with more bytes than that. */
export function tooLarge(maxBytes: number): GatewayError {
  return new GatewayError(
    'request_too_large',
    `The body has more than ${maxBytes} bytes (maxRequestBytes, or two thirds of maxRequestMemoryBytes).`,
  );
}

function tooSmallChunks(): GatewayError {
  return new GatewayError(
    'invalid_request',
    `The body: expected larger chunks, got more than ${maxFramingBytes} bytes of what stands around them.`,
  );
}

function tooSlow(minBytes: number, timeoutMs: number): GatewayError {
  return new GatewayError(
    'request_timeout',
    `The body: expected ${minBytes} bytes more within ${timeoutMs} ms (requestTimeoutMs, minBytesPerSecond), got less.`,
  );
}

function clientLeft(cause: Error | undefined): GatewayError {
  return new GatewayError('client_left', 'The client left before its request was whole.', { cause });
}
