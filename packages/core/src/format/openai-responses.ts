import { closeOpenaiResponses, responseIdentity } from './close-openai-responses.ts';
import { each } from './delta-rule.ts';
import type { Format } from './format.ts';
import { endOfString, forEachKey, isText } from './json-keys.ts';
import { isFilled, listOf, objectOf, promptCountOf, tokenCountOf } from './json-object.ts';
import { openaiError, openaiErrorBody } from './openai-error.ts';
import { classifyByType } from './payload-type.ts';

const encoder = new TextEncoder();

/**
 * OpenAI's Responses: Server-Sent Events whose name is the payload's `type`. A reply ends with one of
 * `response.completed`, `response.incomplete`, `response.cancelled`, `response.failed` and, in some dialects,
 * `response.done`, whose `status` says which of these it is; errors are events named `error`.
 */
export const openaiResponses: Format = {
  name: 'openai-responses',
  classify: classifyByType(
    {
      'response.completed': 'end',
      'response.incomplete': 'end',
      'response.cancelled': 'end',
      'response.done': (bytes, start, end) => (hasFailed(bytes, start, end) ? 'error' : 'end'),
      'response.failed': 'error',
      error: 'error',
    },
    ['response.'],
  ),
  delta: {
    fields: {
      type: {
        oneOf: [
          'response.output_text.delta',
          'response.refusal.delta',
          'response.function_call_arguments.delta',
          'response.custom_tool_call_input.delta',
          'response.mcp_call_arguments.delta',
          'response.code_interpreter_call_code.delta',
          'response.reasoning_text.delta',
          'response.reasoning_summary_text.delta',
          'response.shell_call_command.delta',
          'response.apply_patch_call_operation_diff.delta',
        ],
      },
      ...each('same', 'item_id', 'output_index', 'content_index', 'summary_index', 'command_index'),
      // Log probabilities are not merged: the official SDK takes all log probabilities of an event or none.
      delta: 'text',
      // The last number: a client that resumes after it must not get this event's text again.
      sequence_number: 'last',
      obfuscation: 'last',
    },
  },
  hasContent: (payload) => {
    const { delta, item, output, type } = objectOf(payload);
    if (typeof type !== 'string') return listOf(output).some(isSaid);
    if (type.endsWith('.delta')) return delta !== '';
    if (type.endsWith('.partial_image') || type === 'response.output_item.done') return true;
    // A call has its name when it begins. Messages and reasoning begin empty.
    return type === 'response.output_item.added' && !emptyItems.has(objectOf(item)['type']);
  },
  usage: (payload) => {
    const { response = payload } = objectOf(payload);
    const { usage } = objectOf(response);
    if (typeof usage !== 'object' || usage === null) return undefined;
    const { input_tokens: input, output_tokens: output } = objectOf(usage);
    return { inputTokens: promptCountOf(input), outputTokens: tokenCountOf(output) };
  },
  errorBody: openaiErrorBody,
  errorEvent: (error) => {
    const { code, message, param } = openaiError(error);
    // Written twice: flat as OpenAI documents errors, and as an object, which other clients read.
    const payload = { type: 'error', code, message, param, sequence_number: 0, error: openaiError(error) };
    return encoder.encode(`event: error\ndata: ${JSON.stringify(payload)}\n\n`);
  },
  identity: responseIdentity,
  close: closeOpenaiResponses,
};

/** The items that have nothing in them when they begin. */
const emptyItems: ReadonlySet<unknown> = new Set(['message', 'reasoning']);

/** Whether an item of an output has something in it. */
function isSaid(item: unknown): boolean {
  const { content, encrypted_content: hidden, summary, type } = objectOf(item);
  if (!emptyItems.has(type)) return true;
  return (
    isFilled(hidden) ||
    [content, summary].flatMap(listOf).some((part) => {
      const { type: _, ...said } = objectOf(part);
      return Object.values(said).some(isFilled);
    })
  );
}

/** Whether the `response` in a payload has the status `failed`. */
function hasFailed(bytes: Uint8Array, start: number, end: number): boolean {
  let isInResponse = false;
  let isFailed = false;
  forEachKey(bytes, start, end, (keyStart, keyEnd, depth, value) => {
    if (depth === 1) isInResponse = isText(bytes, keyStart, keyEnd, RESPONSE);
    else if (depth === 2 && isInResponse && isText(bytes, keyStart, keyEnd, STATUS))
      isFailed = isText(bytes, value + 1, endOfString(bytes, value + 1, end), FAILED);
    return isFailed;
  });
  return isFailed;
}

const RESPONSE = encoder.encode('response');
const STATUS = encoder.encode('status');
const FAILED = encoder.encode('failed');
