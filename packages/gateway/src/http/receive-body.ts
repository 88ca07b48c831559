import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError, overloaded } from '@spillway/server/errors';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import type { Scanner } from './body-scanner.ts';
import { ReceivedBody } from './received-body.ts';

/**
 * The most framing bytes around the chunks of a body, in addition to a quarter of the body's bytes. Enough
 * for some 200,000 chunks of any size.
 */
const maxFramingBytes = 1_048_576;

export interface ReceiveOptions {
  /** The memory for the body; released if it does not come whole. */
  readonly hold: BodyHold;
  /**
   * The largest body. A larger one is refused: at once if its length says so, else when more bytes have come.
   */
  readonly maxBytes: number;
  /** Scans the body as it comes; `undefined`: no scan. */
  readonly scanner: Scanner | undefined;
  /**
   * In each `timeoutMs`, at least `minBytesPerSecond` × `timeoutMs` / 1000 bytes have to come; if that is 0,
   * at least one byte.
   */
  readonly timeoutMs: number;
  readonly minBytesPerSecond: number;
  /** When the whole body has to be there, however well it goes on; `undefined`: it may take any time. */
  readonly deadline?: BodyDeadline | undefined;
}

export interface BodyDeadline {
  readonly inMs: number;
  readonly errorOf: () => GatewayError;
}

/** Whether a request announces a body. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * Reads the body of a request; `null`: it has none. Memory is reserved for bytes that have come, not for an
 * announced length. Each turn of the event loop reads one piece, so that a fast body does not delay other
 * requests. A chunk costs Node more than a hundred bytes, so a body that is mostly the framing of chunks is
 * refused. A body may take any time while it keeps its minimum rate: a recording over a slow link takes
 * minutes.
 *
 * @throws {GatewayError} `request_too_large`; `overloaded` when there is no room for the bytes that came;
 *   `invalid_request`; `request_timeout`; `client_left`; and that of the deadline.
 */
export async function receiveBody(
  request: IncomingMessage,
  response: ServerResponse,
  { deadline, hold, maxBytes, minBytesPerSecond, scanner, timeoutMs }: ReceiveOptions,
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
  const end = deadline && setTimeout(() => isWhole.reject(deadline.errorOf()), deadline.inMs);
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
    clearTimeout(end);
    stop();
  }
  return body.byteLength === 0 ? null : body;
}

/**
 * Hands the bytes of a request to `take`, one piece a turn of the event loop. Returns a function that stops
 * this and leaves the request open, so that it can be answered.
 */
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
  // A destroyed request emits none of these events any more.
  if (request.destroyed) onClose();
  return () => {
    clearImmediate(turn);
    request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    request.pause();
  };
}

/** The error for a body with more than `maxBytes`. */
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
