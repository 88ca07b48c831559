import { closeAnthropicMessages } from './close-anthropic-messages.ts';
import { isReason } from './choices.ts';
import type { Format, FormatError } from './format.ts';
import { forEachKey, isText } from './json-keys.ts';
import { isFilled, listOf, objectOf, promptCountOf, tokenCountOf } from './json-object.ts';
import { classifyByType } from './payload-type.ts';

const encoder = new TextEncoder();

/**
 * Anthropic's Messages: Server-Sent Events whose name is the payload's `type`. A reply ends with `message_stop`; errors
 * are events named `error`. Some other providers of this format leave `message_stop` out. Their reply may end when a
 * `message_delta` has said its `stop_reason`.
 */
export const anthropicMessages: Format = {
  name: 'anthropic-messages',
  classify: classifyByType(
    {
      message_stop: 'end',
      error: 'error',
      message_delta: (bytes, start, end, choices) => {
        choices.add(0, hasStopReason(bytes, start, end));
        return 'content';
      },
    },
    ['content_block_', 'message_', 'ping'],
  ),
  delta: {
    fields: {
      type: { oneOf: ['content_block_delta'] },
      index: 'same',
      delta: {
        fields: {
          // Deltas of signatures, citations and compactions are no text that adds up: each stays as it is.
          type: { oneOf: ['text_delta', 'thinking_delta', 'input_json_delta'] },
          text: 'text',
          thinking: 'text',
          partial_json: 'text',
        },
      },
    },
  },
  hasContent: (payload) => {
    const { content, content_block: block, type } = objectOf(payload);
    if (type === 'content_block_delta') return true;
    if (type === 'message') return listOf(content).some(isSaid);
    // A call's name, and what is never sent in deltas. A text and a thought begin empty.
    return type === 'content_block_start' && !textBlocks.has(objectOf(block)['type']);
  },
  usage: (payload) => {
    const { message, usage } = objectOf(payload);
    if (typeof usage === 'object' && usage !== null) {
      return { inputTokens: inputOf(usage), outputTokens: tokenCountOf(objectOf(usage)['output_tokens']) };
    }
    // At the beginning of a stream: what it says of the answer, of which there is nothing so far, is a placeholder.
    const inputTokens = inputOf(objectOf(message)['usage']);
    return inputTokens === undefined ? undefined : { inputTokens, outputTokens: undefined };
  },
  errorBody,
  errorEvent: (error) => encoder.encode(`event: error\ndata: ${errorBody(error)}\n\n`),
  close: closeAnthropicMessages,
};

/**
 * The tokens of a prompt. Those that a cache has, or gets, Anthropic reports beside the others: all input is the three together
 * (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching). Other formats have them in their one number.
 */
function inputOf(usage: unknown): number | undefined {
  const {
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    input_tokens,
  } = objectOf(usage);
  const parts = [input_tokens, written ?? 0, read ?? 0].map(tokenCountOf);
  // A sum of which a part is not known is not known.
  const input = parts.reduce(
    (sum, part) => (sum === undefined || part === undefined ? undefined : sum + part),
    0,
  );
  return promptCountOf(input);
}

/** The blocks that have nothing in them when they begin. */
const textBlocks: ReadonlySet<unknown> = new Set(['text', 'thinking']);

/** Whether a block of a whole message has something in it. */
function isSaid(block: unknown): boolean {
  const { type, ...said } = objectOf(block);
  return !textBlocks.has(type) || Object.values(said).some(isFilled);
}

function hasStopReason(bytes: Uint8Array, start: number, end: number): boolean {
  let isInDelta = false;
  let isOver = false;
  forEachKey(bytes, start, end, (keyStart, keyEnd, depth, value) => {
    if (depth === 1) isInDelta = isText(bytes, keyStart, keyEnd, DELTA);
    else if (depth === 2 && isInDelta && isText(bytes, keyStart, keyEnd, STOP_REASON))
      isOver = isReason(bytes, value, end);
    return isOver;
  });
  return isOver;
}

const DELTA = encoder.encode('delta');
const STOP_REASON = encoder.encode('stop_reason');

function errorBody(error: FormatError): string {
  const { code, message, requestId = null, status } = error;
  return JSON.stringify({
    type: 'error',
    error: {
      type: families.get(status) ?? (status < 499 ? 'invalid_request_error' : 'api_error'),
      message,
      code,
    },
    request_id: requestId,
  });
}

/** The families of errors, from https://docs.anthropic.com/en/api/errors. */
const families = new Map([
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
]);
