import type { FormatError } from './format.ts';

/** An error as all of OpenAI's formats write it, in a body and in an event. */
export function openaiError({ code, message, status }: FormatError): {
  readonly message: string;
  readonly type: string;
  readonly param: null;
  readonly code: string;
} {
  const isClients = status >= 400 && status < 499;
  return { message, type: isClients ? 'invalid_request_error' : 'api_error', param: null, code };
}

/** The body of an error response. */
export function openaiErrorBody(error: FormatError): string {
  return JSON.stringify({ error: openaiError(error) });
}
