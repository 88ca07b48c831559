import type { Format } from '@spillway/core/format/format';

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

/** A provider's error as an event, for a client to whom the status was sent already. */
export function errorEventOf({ name }: Format, body: ErrorBody): string {
  switch (name) {
    case 'anthropic-messages':
      return `event: error\ndata: ${JSON.stringify(body)}\n\n`;
    case 'openai-responses':
      // Only what has a type is an event here.
      return `event: error\ndata: ${JSON.stringify({ type: 'error', sequence_number: 0, ...body })}\n\n`;
    default:
      return `data: ${JSON.stringify(body)}\n\n`;
  }
}
