import type { Format } from '@spillway/core/format/format';
import { type ErrorAnswer, GatewayError } from '@spillway/server/errors';

/** What a provider answered instead of a reply. */
export interface Refusal {
  /** The words behind the status. */
  readonly reason: string;
  /** Those that are for a client. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came; `undefined` if it did not come whole. */
  readonly body: Buffer | undefined;
  /** Of the body, without its coding, what can be told otherwise: its start. Empty if it will be told as it is. */
  readonly words: string;
}

/** A provider's own error, instead of a reply: clients get it as it is. */
export class RefusedError extends GatewayError {
  readonly refusal: Refusal;

  /** `error` says of it what is for logs. */
  constructor(error: GatewayError, refusal: Refusal) {
    super(error.code, error.message, { status: error.status });
    this.refusal = refusal;
  }

  /** As it came; what did not come whole, in a format. */
  override answer(format: Format): ErrorAnswer {
    const { code, message, refusal, status } = this;
    if (refusal.body !== undefined) return { ...refusal, body: refusal.body };
    // Its hints count all the same, and so does what came of it.
    const { 'content-encoding': _, ...headers } = refusal.headers;
    const words = refusal.words.trim();
    const told = words === '' ? message : `${message} It begins: ${words}`;
    return {
      reason: refusal.reason,
      headers: { ...headers, 'content-type': 'application/json' },
      body: Buffer.from(format.errorBody({ code, status, message: told })),
    };
  }
}

/** A provider's error as an event, where the status was sent already: with so many of its words as fit into `maxBytes`. */
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
  // What is no status of an error, SDKs would overlook in an event.
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
        // SDKs tell by the type what it is. Without one, the status says it.
        error: {
          ...known.error,
          type: typeOf(known) ?? typeOf(JSON.parse(format.errorBody(told)) as ErrorBody),
        },
      });
    case 'openai-responses':
      return namedError({
        ...known,
        // Flat as OpenAI documents it; an `error` beside that is read by others.
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

/** Of text, no character is cut in two. */
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

/** A body that is an error as the format's SDKs know one; `undefined` if it is another. */
function readErrorBody(text: string, { name }: Format): ErrorBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    // Gemini lists its errors where it would have listed the events.
    const body = (Array.isArray(value) ? value[0] : value) as Partial<ErrorBody> | null | undefined;
    const error = body?.error;
    if (body === null || body === undefined || typeof error !== 'object' || error === null) return undefined;
    // Gemini's SDK knows an error by the number of its code.
    return name === 'gemini' && !isErrorStatus(error['code']) ? undefined : { ...body, error };
  } catch {
    return undefined;
  }
}
