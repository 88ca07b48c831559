import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { GatewayError, overloaded } from '../errors.ts';
import type { BodyHold } from '../request-memory.ts';
import { ReceivedBody } from './received-body.ts';

/** What may stand around the chunks of a body, beside a quarter of its own bytes: some 200,000 chunks, however small. */
const maxFramingBytes = 1_048_576;

export interface ReceiveOptions {
  /** The room that it takes; given back when it does not come whole. */
  readonly hold: BodyHold;
  /** One that is larger is refused: at once when its length says so, else when more has come. */
  readonly maxBytes: number;
}

/** Whether a request says that it has a body. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * Reads the body of a request; `null`: it has none. What is announced costs nothing, what has come is held. One read of
 * the socket a turn of the event loop, so that a body that comes fast does not keep others waiting. A chunk costs Node
 * more than a hundred of its bytes, so what is next to nothing but the frames of chunks is refused.
 *
 * @throws {GatewayError} `request_too_large`; `overloaded` when there is no room for what came; `invalid_request`;
 *   `client_left`.
 */
export async function receiveBody(
  request: IncomingMessage,
  response: ServerResponse,
  { hold, maxBytes }: ReceiveOptions,
): Promise<ReceivedBody | null> {
  if (!hasBody(request)) return null;
  const { expect, 'content-length': announced = '0' } = request.headers;
  if (Number(announced) > maxBytes) throw tooLarge(maxBytes);
  if (expect !== undefined && request.httpVersion === '1.1') response.writeContinue();
  const body = new ReceivedBody(hold.grow, Number(announced) || Infinity);
  const { socket } = request;
  const startBytes = socket.bytesRead;
  try {
    // It may not be destroyed: it is still to be answered.
    for await (const bytes of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (body.byteLength + bytes.length > maxBytes) throw tooLarge(maxBytes);
      if (!body.add(bytes)) throw overloaded('This client holds its share of maxRequestMemoryBytes.');
      if (socket.bytesRead - startBytes > maxFramingBytes + 1.25 * body.byteLength) throw tooSmallChunks();
      if (!request.complete) await nextTurn();
    }
  } catch (error) {
    hold.release();
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('client_left', 'The client left before its request was whole.', { cause: error });
  }
  return body.byteLength === 0 ? null : body;
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
