import { type ChoiceKeys, findChoices, isReason, type Choices } from './choices.ts';
import type { Format, FormatError } from './format.ts';
import { isText } from './json-keys.ts';
import { listOf, numberOf, objectOf } from './json-object.ts';
import type { PayloadKind } from './sse.ts';

const encoder = new TextEncoder();

/**
 * Gemini's `streamGenerateContent?alt=sse`: Server-Sent Events without names. There is no end marker: a reply
 * may end when each candidate has its `finishReason`, or behind a `blockReason`, and more may follow. Errors are
 * `{"error": {…}}`, in a body or an event.
 */
export const gemini: Format = {
  name: 'gemini',
  classify,
  delta: {
    fields: {
      candidates: {
        only: {
          fields: {
            content: {
              // Calls, images, code and signatures stay as they are.
              fields: {
                parts: {
                  only: {
                    fields: {
                      text: 'text',
                      ...nothingIn(
                        'thoughtSignature',
                        'functionCall',
                        'functionResponse',
                        'inlineData',
                        'fileData',
                        'executableCode',
                        'codeExecutionResult',
                        'toolCall',
                        'toolResponse',
                        'partMetadata',
                        'videoMetadata',
                      ),
                    },
                  },
                },
              },
            },
            ...nothingIn(
              'finishReason',
              'finishMessage',
              'groundingMetadata',
              'citationMetadata',
              'urlContextMetadata',
              'logprobsResult',
              'avgLogprobs',
              'tokenCount',
              'continuationToken',
            ),
          },
        },
      },
      // Running totals.
      usageMetadata: 'last',
      ...nothingIn('promptFeedback', 'error'),
    },
  },
  hasContent: (payload) =>
    listOf(objectOf(payload)['candidates']).some(
      (candidate) => listOf(objectOf(objectOf(candidate)['content'])['parts']).length > 0,
    ),
  usage: (payload) => {
    const usage = objectOf(payload)['usageMetadata'];
    if (typeof usage !== 'object' || usage === null) return undefined;
    const {
      candidatesTokenCount: text,
      promptTokenCount: input,
      thoughtsTokenCount: thoughts,
    } = objectOf(usage);
    const output = numberOf(text);
    return {
      inputTokens: numberOf(input),
      outputTokens: output === undefined ? undefined : output + (numberOf(thoughts) ?? 0),
    };
  },
  errorBody,
  errorEvent: (error) => encoder.encode(`data: ${errorBody(error)}\n\n`),
};

function nothingIn(...names: readonly string[]): Readonly<Record<string, 'nothing'>> {
  return Object.fromEntries(names.map((name) => [name, 'nothing']));
}

const ERROR = encoder.encode('error');
const BLOCK_REASON = encoder.encode('blockReason');
const FIRST_OF_NULL = 0x6e;
const candidateKeys: ChoiceKeys = {
  list: encoder.encode('candidates'),
  reason: encoder.encode('finishReason'),
};
/** A prompt that is blocked has no candidates: it counts as one. */
const promptIndex = -1;

/** By the keys at the depths where Gemini has them: a tool may have arguments of the same names. */
function classify(bytes: Uint8Array, start: number, end: number, choices: Choices): PayloadKind {
  let kind: PayloadKind = 'content';
  findChoices(bytes, start, end, candidateKeys, choices, (keyStart, keyEnd, depth, value) => {
    if (depth === 1 && bytes[value] !== FIRST_OF_NULL && isText(bytes, keyStart, keyEnd, ERROR))
      kind = 'error';
    else if (depth === 2 && isText(bytes, keyStart, keyEnd, BLOCK_REASON) && isReason(bytes, value, end))
      choices.add(promptIndex, true);
  });
  return kind;
}

function errorBody({ message, status }: FormatError): string {
  return JSON.stringify({
    error: {
      code: status,
      message,
      status: statuses.get(status) ?? (status < 499 ? 'INVALID_ARGUMENT' : 'INTERNAL'),
    },
  });
}

/** As https://cloud.google.com/apis/design/errors maps them. */
const statuses = new Map([
  [401, 'UNAUTHENTICATED'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [429, 'RESOURCE_EXHAUSTED'],
  [499, 'CANCELLED'],
  [502, 'UNAVAILABLE'],
  [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED'],
]);
