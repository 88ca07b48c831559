import { type ChoiceKeys, findChoices, type Choices } from './choices.ts';
import type { Format } from './format.ts';
import { listOf, numberOf, objectOf } from './json-object.ts';
import { openaiErrorBody } from './openai-error.ts';
import type { PayloadKind } from './sse.ts';

/**
 * The wire format of OpenAI's Chat Completions and everybody who speaks it: Server-Sent Events without names,
 * each with one JSON object, `data: [DONE]` as the end marker, and errors as `{"error": {…}}`, in a body or
 * an event. Some who speak it have no marker: their answer may end when each choice has its `finish_reason`.
 */
export const openaiChat: Format = {
  name: 'openai-chat',
  classify: classifyUnnamed,
  delta: {
    fields: {
      choices: {
        only: {
          fields: {
            delta: {
              fields: {
                role: 'pins',
                content: 'text',
                refusal: 'text',
                // The official SDK keeps only the last of these two, as of any field that it does not know.
                reasoning_content: 'textButLast',
                reasoning: 'textButLast',
                reasoning_details: 'nothing',
                annotations: 'nothing',
                function_call: { fields: { name: 'nothing', arguments: 'text' } },
                tool_calls: {
                  only: {
                    fields: {
                      function: { fields: { name: 'nothing', arguments: 'text' } },
                      custom: { fields: { name: 'nothing', input: 'text' } },
                    },
                  },
                },
                // Base64 does not add up unless it is padded by chance.
                audio: {
                  fields: { id: 'nothing', data: 'nothing', expires_at: 'nothing', transcript: 'text' },
                },
              },
            },
            logprobs: { fields: { content: 'items', refusal: 'items' } },
            finish_reason: 'nothing',
          },
        },
      },
      // Some SDKs show the first, which comes with the role, and some the last.
      created: 'last',
      // Random characters that hide how long a token was; nobody reads them.
      obfuscation: 'last',
      // Running totals, where every chunk has them.
      usage: 'last',
      error: 'nothing',
    },
  },
  hasContent: (payload) =>
    listOf(objectOf(payload)['choices']).some((choice) => {
      const { role: _, ...delta } = objectOf(objectOf(choice)['delta']);
      return Object.values(delta).some((value) => value !== null && value !== '');
    }),
  usage: openaiUsage,
  errorBody: openaiErrorBody,
  errorEvent: (error) => encoder.encode(`data: ${openaiErrorBody(error)}\n\n`),
};

const encoder = new TextEncoder();
const DONE = encoder.encode('[DONE]');
const ERROR = encoder.encode('{"error":');
const choiceKeys: ChoiceKeys = {
  list: encoder.encode('choices'),
  reason: encoder.encode('finish_reason'),
};
const SPACE = 0x20;
const FIRST_OF_NULL = 0x6e;

/** Tells `[DONE]` and `{"error": …}` by their first bytes, and looks for choices in everything else. */
export function classifyUnnamed(
  bytes: Uint8Array,
  start: number,
  end: number,
  choices: Choices,
): PayloadKind {
  const first = bytes[start];
  if (first === DONE[0]) return equals(bytes, start, end, DONE) ? 'end' : 'content';
  if (first === ERROR[0] && bytes[start + 2] === ERROR[2] && isError(bytes, start, end)) return 'error';
  findChoices(bytes, start, end, choiceKeys, choices);
  return 'content';
}

/** `usage` as Chat Completions and legacy Completions report it. */
export function openaiUsage(payload: unknown): ReturnType<Format['usage']> {
  const usage = objectOf(payload)['usage'];
  if (typeof usage !== 'object' || usage === null) return undefined;
  const { completion_tokens: output, prompt_tokens: input } = objectOf(usage);
  return { inputTokens: numberOf(input), outputTokens: numberOf(output) };
}

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
  // Trailing space is seen in the wild.
  let last = end;
  while (last > start && bytes[last - 1] === SPACE) last -= 1;
  return last - start === other.length && startsWith(bytes, start, last, other);
}
