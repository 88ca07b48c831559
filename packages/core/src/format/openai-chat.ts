import type { PayloadKind } from './sse.ts';

/**
 * The wire format of OpenAI's Chat Completions: Server-Sent Events without names, each with one JSON
 * object, `data: [DONE]` as the end marker, and errors as `{"error": {…}}`, in a body or an event.
 */

/** An error as this format writes it. */
export interface OpenaiError {
  /** For people: what happened, the limit, what came, what to do. */
  readonly message: string;
  /** The family, as the official SDKs know it: `invalid_request_error`, `api_error` and so on. */
  readonly type: string;
  /** For programs: stable. */
  readonly code: string;
}

/** The name of this format in metrics and logs. */
export const name = 'openai-chat';

/** Tells the end marker and an error event by their first bytes, without parsing JSON. */
export function classify(bytes: Uint8Array, start: number, end: number): PayloadKind {
  const first = bytes[start];
  if (first === DONE[0]) return equals(bytes, start, end, DONE) ? 'end' : 'content';
  if (first === ERROR[0] && bytes[start + 2] === ERROR[2]) {
    return isError(bytes, start, end) ? 'error' : 'content';
  }
  return 'content';
}

/** The body of an error response. */
export function errorBody(error: OpenaiError): string {
  const { message, type, code } = error;
  return JSON.stringify({ error: { message, type, param: null, code } });
}

/** An event that reports an error in the middle of a stream; the official SDKs throw it. */
export function errorEvent(error: OpenaiError): Uint8Array {
  return encoder.encode(`data: ${errorBody(error)}\n\n`);
}

const encoder = new TextEncoder();
const DONE = encoder.encode('[DONE]');
const ERROR = encoder.encode('{"error":');
const SPACE = 0x20;
const FIRST_OF_NULL = 0x6e;

function isError(bytes: Uint8Array, start: number, end: number): boolean {
  if (!startsWith(bytes, start, end, ERROR)) return false;
  let value = start + ERROR.length;
  while (bytes[value] === SPACE) value += 1;
  return bytes[value] !== FIRST_OF_NULL;
}

function startsWith(bytes: Uint8Array, start: number, end: number, prefix: Uint8Array): boolean {
  if (end - start < prefix.length) return false;
  for (let index = 0; index < prefix.length; index += 1) {
    if (bytes[start + index] !== prefix[index]) return false;
  }
  return true;
}

function equals(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  // The official SDKs accept anything that starts with the marker; trailing space is seen in the wild.
  let last = end;
  while (last > start && bytes[last - 1] === SPACE) last -= 1;
  return last - start === other.length && startsWith(bytes, start, last, other);
}
