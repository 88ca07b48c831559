import type { IncomingHttpHeaders } from 'node:http';

/**
 * Whether a client takes everything in an event stream for a piece of the answer. `@google/generative-ai`, on which
 * `@langchain/google-genai` stands, does: a comment makes it give up, and an error event is a piece without text to it,
 * behind which the answer seems to be whole. It says its name in every request.
 */
export function readsAnswersOnly({ 'x-goog-api-client': client }: IncomingHttpHeaders): boolean {
  return typeof client === 'string' && /(?:^|\s)genai-js\//.test(client);
}
