import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import { errorText } from '../http/error-text.ts';
import { routeOf } from '../http/route.ts';

/** Answers with an error, in the format of the request. */
export function answerError(request: FastifyRequest, reply: FastifyReply, error: GatewayError): void {
  const { body, headers } = error.answer(routeOf(request).errors);
  void reply.code(error.status).headers(headers).send(body);
}

/** Turns Fastify's own errors into the gateway's. */
export function fromFastify(error: unknown): GatewayError {
  const status = (error as { readonly statusCode?: number }).statusCode;
  switch (status) {
    case 408:
      return new GatewayError('request_timeout', 'The request did not arrive in time.', { cause: error });
    default:
      if (status !== undefined && status >= 400 && status < 500 && !(error instanceof GatewayError)) {
        return new GatewayError('invalid_request', 'The request is malformed.', { cause: error, status });
      }
      return asGatewayError(error);
  }
}

/** Answers a connection whose request could not be parsed. The request's format is therefore unknown. */
export function refuseConnection(
  error: NodeJS.ErrnoException,
  socket: Socket,
  connections: Pick<Connections, 'close'>,
): void {
  if (error.code === 'ECONNRESET') socket.destroy();
  else connections.close(socket, errorText(unreadable(error.code)));
}

function unreadable(code: string | undefined): GatewayError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('request_timeout', 'The request did not arrive in time (requestTimeoutMs).');
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('headers_too_large', 'The headers are too large (maxHeaderBytes).');
    default:
      return new GatewayError('invalid_request', 'The request is not valid HTTP.');
  }
}
