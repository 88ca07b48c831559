import type { ResponseHandler } from './response-reader.ts';

/** The bounds of a connection: for connecting, for waiting for a response, and for the size of its head. */
export interface ConnectionLimits {
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

/** A request, complete and checked: no part of it can be read as a second request. */
export interface Request {
  readonly method: string;
  readonly path: string;
  /**
   * The headers, with `content-length` if the method allows a body, and without the headers of one
   * connection.
   */
  readonly headers: Readonly<Record<string, string>>;
  /** The parts of the body, in order. */
  readonly body: readonly Buffer[];
}

/** Receives the response to a request. Either `onEnd` or `onError` is called, once and last. */
export interface Exchange extends ResponseHandler {
  /** The whole request has left this process; not called if it never does. */
  onSent(): void;
  /**
   * The request failed. An {@link UnsentError} if no byte of it was handed to the connection, or if the
   * provider says that it did not process it.
   */
  onError(error: Error): void;
}

/** A request that is under way. After the head of its response, nothing is read until `resume`. */
export interface Sending {
  /** Stops reading the response: the exchange hears no more of it until `resume`. */
  pause(): void;
  resume(): void;
  /** Stops the request at once. Its exchange fails with the error. */
  destroy(error?: Error): void;
}

/** The connections to one origin. Any number of requests may run at once. */
export interface ReplyPool {
  /** The value of the `Host` header. */
  readonly host: string;
  readonly origin: string;
  send(request: Request, exchange: Exchange): Sending;
  /** Closes the idle connections of all pools, because no file descriptor is free. */
  makeRoom(): void;
  /** Closes idle connections now, and the others when their requests have ended. */
  close(): void;
  /** Closes every connection at once. */
  destroy(): void;
}

/**
 * A request failed before any byte of it was handed to a connection: the provider surely did no work for it.
 */
export class UnsentError extends Error {
  constructor(cause: Error) {
    super('the request was not sent', { cause });
  }
}

/** No connection was made within `connectTimeoutMs`. */
export class ConnectTimeoutError extends Error {
  readonly code = 'CONNECT_TIMEOUT';
}

/** The response did not begin within `responseTimeoutMs`. */
export class ResponseTimeoutError extends Error {
  readonly code = 'RESPONSE_TIMEOUT';
}

/** The provider's certificate is not trusted, or is for another host. No request was sent. */
export class CertificateError extends Error {
  readonly code: string;

  constructor(cause: NodeJS.ErrnoException) {
    super(cause.message, { cause });
    this.code = cause.code ?? 'no code';
  }
}
