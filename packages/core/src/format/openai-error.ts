import type { FormatError } from './format.ts';

/** An error as all of OpenAI's formats write it, in a body and in an event. */
export function openaiError({ code, message, status }: FormatError): {
  readonly message: string;
  readonly type: string;
  readonly param: null;
  readonly code: string;
} {
  const isClients = status >= 400 && status < 499;
  const type = types.get(status) ?? (isClients ? 'invalid_request_error' : 'api_error');
  return { message, type, param: null, code };
}

/** What OpenAI's own API says where money or a rate is used up. */
const types = new Map([
  [402, 'insufficient_quota'],
  [429, 'rate_limit_exceeded'],
]);

/** The body of an error response. */
export function openaiErrorBody(error: FormatError): string {
  return JSON.stringify({ error: openaiError(error) });
}
