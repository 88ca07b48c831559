import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { knownCaller } from '@spillway/server/access/caller';
import type { Refusal } from '@spillway/server/access/refusal';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import { clientAddress } from '@spillway/server/http/client-address';
import { requestIdOf } from '@spillway/server/http/request-id';
import { beginsProxyHeader } from '../http/proxy-header.ts';
import { rewriteRefusal } from '../http/request-target.ts';
import { routeOf } from '../http/route.ts';

export interface ErrorsOptions {
  /** The error for a path that the listener does not have. */
  readonly notFound: (request: FastifyRequest) => GatewayError;
  /** Called with an error that nobody foresaw. */
  readonly onDefect: (thrown: unknown, request: FastifyRequest) => void;
  readonly onRefused: (refusal: Refusal) => void;
}

/** Answers everything that is thrown or not found with an error in the format of the request, and reports it. */
export function putErrors(server: FastifyInstance, { notFound, onDefect, onRefused }: ErrorsOptions): void {
  const answer = (request: FastifyRequest, reply: FastifyReply, error: GatewayError): void => {
    const { headers, raw } = request;
    const { errors, path } = routeOf(request);
    const requestId = requestIdOf(raw);
    // Who leaves while it uploads is not refused.
    const report = error.code === 'client_left' ? undefined : onRefused;
    report?.({
      requestId,
      address: clientAddress(raw),
      caller: knownCaller(raw),
      headers,
      method: request.method,
      // A target that was refused is not known to be a path.
      path: rewriteRefusal(raw) === undefined ? path : '',
      error,
    });
    const { body, headers: answered } = error.answer(errors, requestId);
    void reply.code(error.status).headers(answered).send(body);
  };
  server.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown);
    if (error.code === 'internal_error') onDefect(thrown, request);
    answer(request, reply, error);
  });
  server.setNotFoundHandler((request, reply) => answer(request, reply, notFound(request)));
}

/** Turns Fastify's own errors into the gateway's. */
function fromFastify(error: unknown): GatewayError {
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

/** Closes a connection after an error, in answer to a request that could not be read. */
export type RefuseSocket = (socket: Socket, error: GatewayError, headers?: HeaderList) => void;
type HeaderList = readonly (readonly [string, string])[];

/** An error of Node's HTTP parser, with the bytes in which it is. */
type UnreadableError = NodeJS.ErrnoException & { readonly rawPacket?: unknown };

/**
 * Answers a connection whose request could not be parsed. The request's format is therefore unknown. `headersFor` gives
 * the answer's headers for a page of an origin.
 */
export function refuseConnection(
  error: UnreadableError,
  socket: Socket,
  refuse: RefuseSocket,
  headersFor: (origin: string | undefined) => HeaderList = () => [],
): void {
  if (error.code === 'ECONNRESET') socket.destroy();
  else refuse(socket, unreadable(error), headersFor(originIn(error.rawPacket)));
}

/** The origin in the bytes of a request that could not be parsed, as far as its last read has it. */
function originIn(bytes: unknown): string | undefined {
  const text = Buffer.isBuffer(bytes) ? bytes.toString('latin1') : '';
  return /\r\norigin: *([\x21-\x7e]{1,256})\r\n/i.exec(text)?.[1];
}

function unreadable({ code, rawPacket }: UnreadableError): GatewayError {
  if (Buffer.isBuffer(rawPacket) && beginsProxyHeader(rawPacket)) {
    return new GatewayError(
      'untrusted_proxy',
      'The connection begins with a header of the PROXY protocol: expected proxyProtocol, and its address among trustedProxies.',
    );
  }
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('request_timeout', 'The request did not arrive in time (requestTimeoutMs).');
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('headers_too_large', 'The headers are too large (maxHeaderBytes).');
    default:
      return new GatewayError('invalid_request', 'The request is not valid HTTP.');
  }
}
