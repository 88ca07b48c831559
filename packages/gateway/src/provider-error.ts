import type { Format } from '@spillway/core/format/format';
import { errorHeaders, GatewayError } from './errors.ts';
import { decompressed } from './source/decompressed.ts';

/** What a provider answered instead of a reply. */
export interface Refusal {
  /** The words behind the status. */
  readonly reason: string;
  /** Those that are for a client. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came; `undefined` if it did not come whole. */
  readonly body: Buffer | undefined;
}

/** A provider's own error, instead of a reply: clients get it as it is. */
export class RefusedError extends GatewayError {
  readonly refusal: Refusal;

  /** `error` says of it what is for logs. */
  constructor(error: GatewayError, refusal: Refusal) {
    super(error.code, error.message, { status: error.status });
    this.refusal = refusal;
  }
}

/** An error to whom nothing was sent yet. */
export interface ErrorAnswer {
  /** The words behind the status; empty: whatever is usual. */
  readonly reason: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** An error as an answer: a provider's own as it came, any other in a format. */
export function errorAnswer(error: GatewayError, format: Format): ErrorAnswer {
  const body = Buffer.from(format.errorBody(error));
  if (!(error instanceof RefusedError)) return { reason: '', headers: errorHeaders(error), body };
  const { refusal } = error;
  if (refusal.body !== undefined) return { ...refusal, body: refusal.body };
  // Its hints count all the same.
  const { 'content-encoding': _, ...headers } = refusal.headers;
  return { reason: refusal.reason, headers: { ...headers, 'content-type': 'application/json' }, body };
}

/** The same for a reader that is not HTTP's, and does not decompress. */
export function plainErrorAnswer(error: GatewayError, format: Format): ErrorAnswer {
  const answer = errorAnswer(error, format);
  const { 'content-encoding': encoding, ...headers } = answer.headers;
  const body = decompressed(answer.body, encoding);
  return body === undefined ? answer : { ...answer, headers, body };
}

/** An error as an event, for a client to whom the status was sent already. */
export function errorEvent(error: GatewayError, format: Format): Uint8Array {
  if (!(error instanceof RefusedError)) return format.errorEvent(error);
  const { body = Buffer.alloc(0), headers } = error.refusal;
  const words = decompressed(body, headers['content-encoding'])?.toString('utf8').trim() ?? '';
  const { code, message, status } = error;
  const known = readErrorBody(words, format);
  if (known === undefined) {
    return format.errorEvent({ code, status, message: words === '' ? message : words });
  }
  switch (format.name) {
    case 'anthropic-messages':
      return Buffer.from(`event: error\ndata: ${JSON.stringify(known)}\n\n`);
    case 'openai-responses':
      // Only what has a type is an event here.
      return Buffer.from(
        `event: error\ndata: ${JSON.stringify({ type: 'error', sequence_number: 0, ...known })}\n\n`,
      );
    default:
      return Buffer.from(`data: ${JSON.stringify(known)}\n\n`);
  }
}

/** A body that is an error as the format's SDKs know one; `undefined` if it is another. */
function readErrorBody(text: string, { name }: Format): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    // Gemini lists its errors where it would have listed the events.
    const body: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof body !== 'object' || body === null || !('error' in body)) return undefined;
    const { error } = body;
    if (typeof error !== 'object' || error === null) return undefined;
    // Gemini's SDK knows an error by the number of its code.
    return name === 'gemini' && !('code' in error && typeof error.code === 'number') ? undefined : body;
  } catch {
    return undefined;
  }
}
