import type { ResponseHandler } from './response-reader.ts';

/** How long a connection may be made, and a response be awaited. */
export interface ConnectionLimits {
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

/** One request, complete and checked: nothing in it could be two requests. */
export interface Request {
  readonly method: string;
  readonly path: string;
  /** With `content-length`, if it has a body or could have one; without what is about the connection. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body's parts, one behind the other. */
  readonly body: readonly Buffer[];
}

/** Who hears of a request's response. Of `onEnd` and `onError` one is called, once and last. */
export interface Exchange extends ResponseHandler {
  /** The request has left this process; not called if it never does. */
  onSent(): void;
  /** An {@link UnsentError} if nothing of the request was handed to the connection, or its provider says that it did not look at it. */
  onError(error: Error): void;
}

/** A request that is under way. Its response waits behind its head until it is resumed. */
export interface Sending {
  /** Reads no more of the response: nothing of it is told until `resume`. */
  pause(): void;
  resume(): void;
  /** Stops it at once: it fails with the error. */
  destroy(error?: Error): void;
}

/** The connections to one origin, with as many requests at once as are wanted. */
export interface ReplyPool {
  /** What the `Host` header says. */
  readonly host: string;
  readonly origin: string;
  send(request: Request, exchange: Exchange): Sending;
  /** No descriptor is free: what is kept for requests to come is closed, of all pools. */
  makeRoom(): void;
  /** Takes no connection back; requests that run finish first. */
  close(): void;
  /** Ends every connection at once. */
  destroy(): void;
}

/** Why a request failed of which nothing was handed to a connection: surely no work was done for it. */
export class UnsentError extends Error {
  constructor(cause: Error) {
    super('the request was not sent', { cause });
  }
}

/** No connection was made in time. */
export class ConnectTimeoutError extends Error {
  readonly code = 'CONNECT_TIMEOUT';
}

/** The response did not begin in time. */
export class ResponseTimeoutError extends Error {
  readonly code = 'RESPONSE_TIMEOUT';
}

/** The provider showed a certificate that nobody vouches for, or another's. Nothing was sent to it. */
export class CertificateError extends Error {
  readonly code: string;

  constructor(cause: NodeJS.ErrnoException) {
    super(cause.message, { cause });
    this.code = cause.code ?? 'no code';
  }
}
