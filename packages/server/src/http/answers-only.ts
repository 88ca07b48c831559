import type { IncomingHttpHeaders } from 'node:http';

/**
 * Whether a client takes everything in an event stream for a piece of the answer. `@google/generative-ai`, on which
 * `@langchain/google-genai` is built, does. A comment makes it give up. An error event looks to it like a piece
 * without text, after which the answer seems whole. The client sends its name in every request.
 */
export function readsAnswersOnly({ 'x-goog-api-client': client }: IncomingHttpHeaders): boolean {
  return typeof client === 'string' && /(?:^|\s)genai-js\//.test(client);
}
