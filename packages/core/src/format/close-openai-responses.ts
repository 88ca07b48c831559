import type { CutAnswer } from './format.ts';
import { namedEvent, pick } from './payloads.ts';
import { numberOf, objectOf } from './json-object.ts';
import { ResponseSoFar } from './response-so-far.ts';

/** What {@link closeOpenaiResponses} needs of an answer's first event, if that is not kept. */
export function responseIdentity(first: unknown): Record<string, unknown> {
  return pick(objectOf(first)['response'], 'id', 'object', 'created_at', 'model');
}

/**
 * Ends an answer of Responses: the texts, parts and items that are open, then `response.incomplete` with the reason
 * `max_output_tokens`, the usage, and all of the output. An item that is a call is left open: readers run a call when its
 * item is done. Returns `undefined` for an answer whose id is not known.
 *
 * Without the answer's start the output is left out, and what is open stays open: the official SDK then keeps what it
 * has put together itself.
 */
export function closeOpenaiResponses(answer: CutAnswer): Uint8Array | undefined {
  const { events, identity, isFromStart, note, usage } = answer;
  const soFar = new ResponseSoFar();
  let sequence = -1;
  for (const event of events) {
    sequence = numberOf(objectOf(event)['sequence_number']) ?? sequence;
    soFar.take(objectOf(event));
  }
  const response = { ...objectOf(identity), ...soFar.response };
  if (typeof response['id'] !== 'string') return undefined;
  const { inputTokens, outputTokens } = usage;
  const isCounted = inputTokens !== undefined && outputTokens !== undefined;
  const closing = isFromStart ? soFar.close() : [];
  const last = {
    type: 'response.incomplete',
    response: {
      ...response,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      error: null,
      output: isFromStart ? soFar.output() : undefined,
      usage: isCounted
        ? {
            input_tokens: inputTokens,
            input_tokens_details: { cached_tokens: 0 },
            output_tokens: outputTokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: inputTokens + outputTokens,
          }
        : null,
    },
    spillway: note,
  };
  const all = [...closing, last].map(({ type, ...event }) => {
    sequence += 1;
    return namedEvent({ type, sequence_number: sequence, ...event });
  });
  return new TextEncoder().encode(all.join(''));
}
