import { SpillwayError } from '@spillway/core';
import type { Format, FormatError } from '@spillway/core/format/format';

/**
 * The codes of the gateway's own errors, each with its status. The codes are stable. From the status each format
 * derives its kind of error.
 */
const statuses = {
  invalid_request: 400,
  untrusted_proxy: 400,
  invalid_api_key: 401,
  host_not_allowed: 403,
  model_not_allowed: 403,
  invalid_signature: 403,
  not_found: 404,
  request_timeout: 408,
  request_too_large: 413,
  config_invalid: 422,
  limit_reached: 429,
  headers_too_large: 431,
  internal_error: 500,
  upstream_unreachable: 502,
  upstream_untrusted: 502,
  client_certificate_refused: 502,
  proxy_unreachable: 502,
  proxy_refused: 502,
  upstream_redirect: 502,
  upstream_cut: 502,
  upstream_reported: 502,
  upstream_invalid: 502,
  event_too_large: 502,
  stream_too_large: 502,
  keys_unavailable: 503,
  limits_unavailable: 503,
  overloaded: 503,
  shutting_down: 503,
  tap_unavailable: 503,
  upstream_timeout: 504,
  upstream_idle: 504,
  stream_timeout: 504,
  history_gone: 410,
  reader_disconnected: 410,
  unknown_reader: 410,
  not_arrived: 410,
  client_left: 499,
  cancelled: 499,
  reader_stalled: 499,
} as const;

export type GatewayErrorCode = keyof typeof statuses;

export const errorCodes = Object.keys(statuses) as readonly GatewayErrorCode[];

/** An error as a whole response, for a client that was sent nothing yet. */
export interface ErrorAnswer {
  /** The reason phrase after the status; empty: the usual one. */
  readonly reason: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** An error that ends a stream, or that is answered instead of one. */
export class GatewayError extends SpillwayError<GatewayErrorCode> {
  /** The status, if the client was sent nothing yet. */
  readonly status: number;
  /** The seconds after which another try makes sense, for `Retry-After`. */
  readonly retryAfterS: number | undefined;
  /**
   * Whether the client should not try again. The provider was asked already, so retries would ask it more often than
   * without a gateway.
   */
  isFinal = false;

  constructor(
    code: GatewayErrorCode,
    message: string,
    options: ErrorOptions & { readonly status?: number; readonly retryAfterS?: number | undefined } = {},
  ) {
    super(code, message, options);
    this.status = options.status ?? statuses[code];
    this.retryAfterS = options.retryAfterS;
  }

  /** The error as a response in a format, to the request with that id. */
  answer(format: Format, requestId?: string): ErrorAnswer {
    const body = Buffer.from(format.errorBody(asFormatError(this, requestId)));
    return { reason: '', headers: { ...errorHeaders(this), ...idHeaders(format, requestId) }, body };
  }

  /** Whether what the client gets is a provider's answer. Who got it whole has been served. */
  get isAnswer(): boolean {
    return false;
  }

  /** Whether the stream was stopped on purpose: its state is then `cancelled` and not `failed`. */
  get isCancel(): boolean {
    return ['cancelled', 'client_left', 'limit_reached', 'reader_stalled', 'shutting_down'].includes(
      this.code,
    );
  }
}

/** An error as formats write it, with the id of the failed request. */
export function asFormatError(
  { code, message, status }: GatewayError,
  requestId: string | undefined,
): FormatError {
  return { code, message, status, requestId };
}

/**
 * The id where the SDKs of that format look for it. Only for answers that the server writes itself: in others that
 * header has the provider's own id.
 */
function idHeaders({ name }: Format, requestId: string | undefined): Record<string, string> {
  if (requestId === undefined) return {};
  return { [name === 'anthropic-messages' ? 'request-id' : 'x-request-id']: requestId };
}

/** The headers of an error response, beside those of its body. */
function errorHeaders(error: GatewayError): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...(error.retryAfterS === undefined ? {} : { 'retry-after': String(error.retryAfterS) }),
    ...(error.isFinal ? { 'x-should-retry': 'false' } : {}),
    ...(error.code === 'shutting_down' ? { connection: 'close' } : {}),
    ...(error.code === 'invalid_api_key' ? { 'www-authenticate': 'Bearer' } : {}),
  };
}

/** Any error as a GatewayError. The text of an error that nobody foresaw stays in the program's log. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof SpillwayError && error.code === 'event_too_large') {
    return new GatewayError('event_too_large', error.message, { cause: error });
  }
  if (error instanceof SpillwayError && error.code === 'history_gone') {
    return new GatewayError('history_gone', error.message);
  }
  return new GatewayError('internal_error', 'The gateway failed; its log says how.', { cause: error });
}

/** The error of a stream URL that is unknown, or not for this key. It does not say which of the two. */
export function noSuchStream(): GatewayError {
  const message =
    'There is no stream at this URL for this key. It is kept for retainMs after its end, for a shorter time where newer ones need the room, and not when the gateway is started again.';
  return new GatewayError('not_found', message);
}

/** The error of a read of a stream that was stopped: `reason` is why. Its unread chunks are gone. */
export function historyGone(reason: Error): GatewayError {
  return new GatewayError('history_gone', `${reason.message} Of a stream that was stopped nothing is kept.`);
}

/** The error of a request while the gateway stops or drains. Another gateway, or this one later, may accept it. */
export function shuttingDown(): GatewayError {
  const message = 'The gateway takes no new streams: it is shutting down, or an operator drains it.';
  return new GatewayError('shutting_down', message, { retryAfterS: 1 });
}

/** The error of a stream that had not ended when the time for that was over. */
export function stoppedBefore(): GatewayError {
  const message = 'The gateway was stopped before this answer had ended (shutdownMs).';
  return new GatewayError('shutting_down', message, { retryAfterS: 1 });
}

/** The error of a request at a bound of the gateway's own. Another try makes sense after `retryAfterS` (default: 1). */
export function overloaded(
  message: string,
  { retryAfterS = 1, ...options }: ErrorOptions & { readonly retryAfterS?: number } = {},
): GatewayError {
  return new GatewayError('overloaded', message, { ...options, retryAfterS });
}

/** The error of a request without one of the gateway's keys. */
export function invalidApiKey(): GatewayError {
  return new GatewayError(
    'invalid_api_key',
    'Expected one of this gateway\'s API keys as "Authorization: Bearer …", "x-api-key", "x-goog-api-key" or "api-key".',
  );
}

/** The error of a request whose key is not known, and may be in a store that cannot be read now. */
export function keysUnavailable(): GatewayError {
  const message =
    'This API key cannot be checked now, because the gateway cannot read its store of keys: keep the key, and try again a little later.';
  return new GatewayError('keys_unavailable', message, { retryAfterS: 2 });
}

/** The error of a client that left; `how` completes the sentence. */
export function clientLeft(how: string): GatewayError {
  return new GatewayError('client_left', `The client ${how}.`);
}

/** The error of a reader for which more waited than its window holds. */
export function fellBehind(offset: number): GatewayError {
  return new GatewayError(
    'reader_disconnected',
    `The reader fell behind by more than its window (windowBytes). It can come back at offset ${offset}.`,
  );
}
