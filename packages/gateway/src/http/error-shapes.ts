import type { Format } from '@spillway/core/format/format';
import { type ErrorAnswer, GatewayError } from '@spillway/server/errors';

/** A provider's answer with an error status. */
export interface Refusal {
  /** The reason phrase of the status line. */
  readonly reason: string;
  /** The headers that a client gets. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body as the provider sent it; `undefined` if it did not come whole. */
  readonly body: Buffer | undefined;
  /**
   * The start of the decoded body, for an error that the gateway writes itself. Empty if the client gets
   * `body`.
   */
  readonly words: string;
}

/** A provider's own error. The client gets it as the provider sent it. */
export class RefusedError extends GatewayError {
  readonly refusal: Refusal;

  /** `error` has the code, status and message of it for the program's log. */
  constructor(error: GatewayError, refusal: Refusal) {
    super(error.code, error.message, { status: error.status });
    this.refusal = refusal;
  }

  override get isAnswer(): boolean {
    return true;
  }

  /** The answer as the provider sent it; if its body did not come whole, an error in the client's format. */
  override answer(format: Format, requestId?: string): ErrorAnswer {
    const { code, message, refusal, status } = this;
    if (refusal.body !== undefined) return { ...refusal, body: refusal.body };
    // The provider's headers (such as `Retry-After`) are kept, and so is the start of its body.
    const { 'content-encoding': _, ...headers } = refusal.headers;
    const words = refusal.words.trim();
    const told = words === '' ? message : `${message} It begins: ${words}`;
    return {
      reason: refusal.reason,
      headers: { ...headers, 'content-type': 'application/json' },
      body: Buffer.from(format.errorBody({ code, status, message: told, requestId })),
    };
  }
}

/**
 * A provider's error as an event, for a response whose status was sent already. Its words are cut until the
 * event has at most `maxBytes`.
 */
export function refusalEvent(error: RefusedError, format: Format, maxBytes: number): Uint8Array {
  let words = error.refusal.words.trim();
  let event = wordsEvent(error, words, format);
  while (event.length > maxBytes && words !== '') {
    words = firstHalf(words);
    event = wordsEvent(error, words, format);
  }
  return event;
}

function wordsEvent({ code, message, status }: RefusedError, words: string, format: Format): Uint8Array {
  // SDKs would overlook an error event with a status that is no error's.
  const told = {
    code,
    status: isErrorStatus(status) ? status : 502,
    message: words === '' ? message : words,
  };
  const known = readErrorBody(words, format);
  if (known === undefined) return format.errorEvent(told);
  switch (format.name) {
    case 'anthropic-messages':
      return namedError({
        ...known,
        type: 'error',
        // SDKs choose the class of an error by its type. Without a type, the status gives one.
        error: {
          ...known.error,
          type: typeOf(known) ?? typeOf(JSON.parse(format.errorBody(told)) as ErrorBody),
        },
      });
    case 'openai-responses':
      return namedError({
        ...known,
        // The fields are flat, as OpenAI documents them. Other readers take them from `error`.
        type: 'error',
        code: textOf(known.error['code']) ?? code,
        message: textOf(known.error['message']) ?? words,
        param: textOf(known.error['param']) ?? null,
        sequence_number: 0,
      });
    default:
      return Buffer.from(`data: ${JSON.stringify(known)}\n\n`);
  }
}

/** The first half of a text, without a surrogate that the cut left alone. */
function firstHalf(text: string): string {
  return text.slice(0, text.length / 2).replace(/[\ud800-\udbff]$/, '');
}

function typeOf({ error }: ErrorBody): string | undefined {
  const type = textOf(error['type']);
  return type === '' ? undefined : type;
}

function isErrorStatus(code: unknown): boolean {
  return typeof code === 'number' && code >= 400 && code < 600;
}

function namedError(payload: object): Uint8Array {
  return Buffer.from(`event: error\ndata: ${JSON.stringify(payload)}\n\n`);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

interface ErrorBody {
  readonly error: Readonly<Record<string, unknown>>;
}

/** Reads an error body that the format's SDKs understand; `undefined` for any other. */
function readErrorBody(text: string, { name }: Format): ErrorBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    // Gemini puts an error into an array if the reply would have been an array of events.
    const body = (Array.isArray(value) ? value[0] : value) as Partial<ErrorBody> | null | undefined;
    const error = body?.error;
    if (body === null || body === undefined || typeof error !== 'object' || error === null) return undefined;
    // Gemini's SDK recognises an error by its numeric code.
    return name === 'gemini' && !isErrorStatus(error['code']) ? undefined : { ...body, error };
  } catch {
    return undefined;
  }
}
