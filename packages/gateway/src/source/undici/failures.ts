import { errors } from 'undici';
import { UnsentError } from '../exchange.ts';
import { ResponseCutError, ResponseError } from '../response-reader.ts';

/** The state of a request when it failed. */
export interface FailedRequest {
  readonly hasHead: boolean;
  /** Whether the body was at least as long as its head announced. */
  readonly isLong: boolean;
  readonly maxHeaderBytes: number;
  /** The first error of its socket, if there was one. */
  readonly socketError: Error | undefined;
}

/** Turns an error of undici or of Node's HTTP/2 into the one that the built-in reader would give. */
export function asPlainFailure(told: Error, request: FailedRequest): Error {
  const { hasHead, isLong, maxHeaderBytes, socketError } = request;
  // A TLS alert comes before the connection's end, and undici reports only the end.
  const error = told instanceof errors.SocketError ? (socketError ?? told) : told;
  const { code, http2ErrorCode } = error as NodeJS.ErrnoException & { http2ErrorCode?: number };
  if (error instanceof errors.HeadersOverflowError) return largeHead(maxHeaderBytes, error);
  if (error instanceof errors.HTTPParserError) {
    // "Invalid EOF state": the provider closed the connection in the middle of a response that was valid so
    // far. The error's code is always `undefined`.
    return error.message.includes('Invalid EOF state') ? cut(error) : invalid(error);
  }
  // Before a head is complete, this error can mean any fault after a `Content-Length`.
  if (error instanceof errors.ResponseContentLengthMismatchError) {
    return isLong || !hasHead ? invalid(error) : cut(error);
  }
  if (error instanceof errors.SocketError && error.message.startsWith('bad ')) return invalid(error);
  if (code === 'ERR_HTTP2_ERROR') return invalid(error);
  // RFC 9113, 6.8 and 8.7: the provider did not process the request, so it may be sent again.
  const isGoAway = error.message.startsWith('HTTP/2: "GOAWAY"');
  if (!hasHead && (http2ErrorCode === refusedStream || isGoAway)) return new UnsentError(error);
  return error;
}

/** The built-in reader's error for a head that is too large. */
export function largeHead(maxHeaderBytes: number, cause?: Error): ResponseError {
  return new ResponseError(`The head has more than ${maxHeaderBytes} bytes (maxHeaderBytes).`, { cause });
}

export function cut(cause?: Error): ResponseCutError {
  return new ResponseCutError('The connection was closed before the response was whole.', { cause });
}

function invalid(cause: Error): ResponseError {
  return new ResponseError(`The response is not valid HTTP: ${cause.message}.`, { cause });
}

/** `REFUSED_STREAM`. */
const refusedStream = 7;
