import { closeGemini } from './close-gemini.ts';
import { type ChoiceKeys, findChoices, isReason, type Choices } from './choices.ts';
import { type DeltaRule, each } from './delta-rule.ts';
import { classifyErrors } from './error-payload.ts';
import type { Format, FormatError } from './format.ts';
import { isText } from './json-keys.ts';
import { listOf, objectOf, isFilled, promptCountOf, tokenCountOf } from './json-object.ts';
import type { PayloadKind } from './sse.ts';

const encoder = new TextEncoder();

const byModality: DeltaRule = { list: { fields: { modality: 'same', tokenCount: 'last' } } };

/** `usageMetadata`: running totals, in every event. */
const totals: DeltaRule = {
  fields: {
    ...each('last', 'promptTokenCount', 'candidatesTokenCount', 'totalTokenCount', 'thoughtsTokenCount'),
    ...each('last', 'cachedContentTokenCount', 'toolUsePromptTokenCount', 'trafficType'),
    ...each(byModality, 'promptTokensDetails', 'candidatesTokensDetails'),
    ...each(byModality, 'cacheTokensDetails', 'toolUsePromptTokensDetails'),
  },
};

/**
 * Gemini's `streamGenerateContent?alt=sse`: Server-Sent Events without names. There is no end marker: a reply may end
 * when each candidate has its `finishReason`, or after a `blockReason`, and more may follow. Errors are `{"error":
 * {…}}`, in a body or an event.
 */
export const gemini: Format = {
  name: 'gemini',
  classify,
  delta: {
    fields: {
      candidates: {
        only: {
          fields: {
            index: 'same',
            content: {
              fields: {
                role: 'same',
                // Calls, images, code and signatures stay as they are.
                parts: { only: { fields: { text: 'text', thought: 'same' } } },
              },
            },
            // Two equal verdicts become one verdict on both texts.
            safetyRatings: 'same',
          },
        },
      },
      ...each('same', 'modelVersion', 'responseId', 'createTime'),
      usageMetadata: totals,
    },
  },
  hasContent: (payload) =>
    listOf(objectOf(payload)['candidates']).some((candidate) =>
      listOf(objectOf(objectOf(candidate)['content'])['parts']).some((part) =>
        Object.values(objectOf(part)).some(isFilled),
      ),
    ),
  usage: (payload) => {
    const usage = objectOf(payload)['usageMetadata'];
    if (typeof usage !== 'object' || usage === null) return undefined;
    const {
      candidatesTokenCount: text,
      promptTokenCount: input,
      thoughtsTokenCount: thoughts,
    } = objectOf(usage);
    // A model that still thinks has said nothing, and has no number of it.
    const [said, thought] = [text ?? 0, thoughts ?? 0].map(tokenCountOf);
    const isTold = (text ?? thoughts ?? undefined) !== undefined;
    const output = !isTold || said === undefined || thought === undefined ? undefined : said + thought;
    return { inputTokens: promptCountOf(input), outputTokens: output };
  },
  errorBody,
  errorEvent: (error) => encoder.encode(`data: ${errorBody(error)}\n\n`),
  close: closeGemini,
};

const classifyError = classifyErrors('candidates');
const BLOCK_REASON = encoder.encode('blockReason');
const candidateKeys: ChoiceKeys = {
  list: encoder.encode('candidates'),
  reason: encoder.encode('finishReason'),
};
/** The index for a blocked prompt, which has no candidates and counts as one choice. */
const promptIndex = -1;

/** Keys only count at the depths where Gemini has them, because arguments of a tool may have the same names. */
function classify(bytes: Uint8Array, start: number, end: number, choices: Choices): PayloadKind {
  const kind = classifyError(bytes, start, end, choices);
  if (kind !== 'content') return kind;
  findChoices(bytes, start, end, candidateKeys, choices, (keyStart, keyEnd, depth, value) => {
    if (depth === 2 && isText(bytes, keyStart, keyEnd, BLOCK_REASON) && isReason(bytes, value, end))
      choices.add(promptIndex, true);
  });
  return kind;
}

function errorBody({ message, requestId, status }: FormatError): string {
  return JSON.stringify({
    error: {
      code: status,
      message,
      status: statuses.get(status) ?? (status < 499 ? 'INVALID_ARGUMENT' : 'INTERNAL'),
      // Left out if there is no id. See https://cloud.google.com/apis/design/errors#error_details.
      details: requestId === undefined ? undefined : [{ '@type': requestInfo, requestId }],
    },
  });
}

const requestInfo = 'type.googleapis.com/google.rpc.RequestInfo';

/** The statuses of errors, from https://cloud.google.com/apis/design/errors. */
const statuses = new Map([
  [401, 'UNAUTHENTICATED'],
  [402, 'RESOURCE_EXHAUSTED'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [429, 'RESOURCE_EXHAUSTED'],
  [499, 'CANCELLED'],
  [502, 'UNAVAILABLE'],
  [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED'],
]);
