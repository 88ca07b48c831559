import { SpillwayError } from '@spillway/core';

/**
 * What the gateway answers by itself, instead of or after a provider's own bytes. The code is stable;
 * with it go the status (before the first byte) and the family that the official SDKs know.
 */
const answers = {
  invalid_request: { status: 400, type: 'invalid_request_error' },
  invalid_api_key: { status: 401, type: 'invalid_request_error' },
  host_not_allowed: { status: 403, type: 'invalid_request_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  request_timeout: { status: 408, type: 'invalid_request_error' },
  request_too_large: { status: 413, type: 'invalid_request_error' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error' },
  headers_too_large: { status: 431, type: 'invalid_request_error' },
  internal_error: { status: 500, type: 'api_error' },
  upstream_unreachable: { status: 502, type: 'api_error' },
  upstream_cut: { status: 502, type: 'api_error' },
  upstream_reported: { status: 502, type: 'api_error' },
  upstream_invalid: { status: 502, type: 'api_error' },
  event_too_large: { status: 502, type: 'api_error' },
  stream_too_large: { status: 502, type: 'api_error' },
  overloaded: { status: 503, type: 'api_error' },
  shutting_down: { status: 503, type: 'api_error' },
  upstream_timeout: { status: 504, type: 'api_error' },
  upstream_idle: { status: 504, type: 'api_error' },
  stream_timeout: { status: 504, type: 'api_error' },
  client_left: { status: 499, type: 'api_error' },
  reader_stalled: { status: 499, type: 'api_error' },
} as const;

export type GatewayErrorCode = keyof typeof answers;

/** Ends a stream, or answers instead of one. */
export class GatewayError extends SpillwayError<GatewayErrorCode> {
  /** The status if nothing was sent yet. */
  readonly status: number;
  /** The family of the error in the provider's format. */
  readonly type: string;
  /** Seconds after which another try makes sense, for `Retry-After`. */
  readonly retryAfterS: number | undefined;

  constructor(
    code: GatewayErrorCode,
    message: string,
    options: ErrorOptions & { readonly status?: number; readonly retryAfterS?: number | undefined } = {},
  ) {
    super(code, message, options);
    this.status = options.status ?? answers[code].status;
    this.type = answers[code].type;
    this.retryAfterS = options.retryAfterS;
  }

  /** Whether the stream was stopped on purpose: its state is then `cancelled` and not `failed`. */
  get isCancel(): boolean {
    return this.code === 'client_left' || this.code === 'reader_stalled' || this.code === 'shutting_down';
  }
}

/** The headers that an error response has beside its body's. */
export function errorHeaders(error: GatewayError): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...(error.retryAfterS === undefined ? {} : { 'retry-after': String(error.retryAfterS) }),
    ...(error.code === 'shutting_down' ? { connection: 'close' } : {}),
    ...(error.code === 'invalid_api_key' ? { 'www-authenticate': 'Bearer' } : {}),
  };
}

/** Any error as one that can be answered; what nobody foresaw keeps its text to the logs. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof SpillwayError && error.code === 'event_too_large') {
    return new GatewayError('event_too_large', error.message, { cause: error });
  }
  return new GatewayError('internal_error', 'The gateway failed; its log says how.', { cause: error });
}

/** The gateway is at a bound of its own; another try a little later makes sense. */
export function overloaded(message: string): GatewayError {
  return new GatewayError('overloaded', message, { retryAfterS: 1 });
}
