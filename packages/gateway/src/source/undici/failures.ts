import { errors } from 'undici';
import { UnsentError } from '../exchange.ts';
import { ResponseCutError, ResponseError } from '../response-reader.ts';

/** What is known of a request that failed. */
export interface FailedRequest {
  readonly hasHead: boolean;
  /** Whether the body has come as long as its head said, or longer. */
  readonly isLong: boolean;
  readonly maxHeaderBytes: number;
  /** What its connection said first, if it said something. */
  readonly socketError: Error | undefined;
}

/** What undici and Node's HTTP/2 say of a failure, as the built-in reader says it. */
export function asPlainFailure(told: Error, request: FailedRequest): Error {
  const { hasHead, isLong, maxHeaderBytes, socketError } = request;
  // An alert of TLS comes before the end of the connection, of which undici tells.
  const error = told instanceof errors.SocketError ? (socketError ?? told) : told;
  const { code, http2ErrorCode } = error as NodeJS.ErrnoException & { http2ErrorCode?: number };
  if (error instanceof errors.HeadersOverflowError) return largeHead(maxHeaderBytes, error);
  if (error instanceof errors.HTTPParserError) {
    // Whoever closes in the middle of it has not sent anything else. Its code is always `undefined`.
    return error.message.includes('Invalid EOF state') ? cut(error) : invalid(error);
  }
  // In a head it stands for whatever is wrong behind a length.
  if (error instanceof errors.ResponseContentLengthMismatchError) {
    return isLong || !hasHead ? invalid(error) : cut(error);
  }
  if (error instanceof errors.SocketError && error.message.startsWith('bad ')) return invalid(error);
  if (code === 'ERR_HTTP2_ERROR') return invalid(error);
  // RFC 9113, 6.8 and 8.7: the provider did not look at it, so it may be sent again.
  const isGoAway = error.message.startsWith('HTTP/2: "GOAWAY"');
  if (!hasHead && (http2ErrorCode === refusedStream || isGoAway)) return new UnsentError(error);
  return error;
}

/** A head that is too large, told as the built-in reader tells it. */
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
