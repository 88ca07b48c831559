import type { Format } from '@spillway/core/format/format';
import { GatewayError } from './errors.ts';

/** The body of an error, as an object with its `error`. */
export type ErrorBody = Readonly<Record<'error', unknown>>;

/** An error that an SDK understands, in whatever format; `undefined` if the body is none. */
export function readErrorBody(body: Buffer): ErrorBody | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    // Gemini lists its errors where it would have listed the events.
    const error: unknown = Array.isArray(value) ? value[0] : value;
    return typeof error === 'object' && error !== null && 'error' in error ? error : undefined;
  } catch {
    return undefined;
  }
}

/** A provider's own error, instead of a reply: clients get it as it is. */
export class RefusedError extends GatewayError {
  /** The provider's, for a client to whom nothing was sent yet. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly #error: ErrorBody;

  /** `refusal` says of it what is for logs. */
  constructor(refusal: GatewayError, headers: Readonly<Record<string, string>>, error: ErrorBody) {
    super(refusal.code, refusal.message, { status: refusal.status, retryAfterS: refusal.retryAfterS });
    this.#error = error;
    this.body = JSON.stringify(error);
    this.headers = { ...headers, 'content-length': String(Buffer.byteLength(this.body)) };
  }

  /** The same as an event, for a client to whom the status was sent already. */
  event({ name }: Format): string {
    switch (name) {
      case 'anthropic-messages':
        return `event: error\ndata: ${this.body}\n\n`;
      case 'openai-responses': {
        // Only what has a type is an event here.
        const event = { type: 'error', sequence_number: 0, ...this.#error };
        return `event: error\ndata: ${JSON.stringify(event)}\n\n`;
      }
      default:
        return `data: ${this.body}\n\n`;
    }
  }
}
