import { closeOpenaiChat } from './close-openai-chat.ts';
import { type ChoiceKeys, findChoices, type Choices } from './choices.ts';
import { type DeltaRule, each } from './delta-rule.ts';
import { createByteSearch } from './byte-search.ts';
import { classifyErrors } from './error-payload.ts';
import type { Format } from './format.ts';
import { isSpace } from './json-keys.ts';
import { listOf, objectOf, isFilled, promptCountOf, tokenCountOf } from './json-object.ts';
import { openaiErrorBody } from './openai-error.ts';
import type { PayloadKind } from './sse.ts';

/** The fields that each event of Chat Completions and legacy Completions has beside the reply. */
export const openaiConstants: Readonly<Record<string, DeltaRule>> = {
  ...each('same', 'id', 'object'),
  // Some SDKs show the first value, which comes with the role, and some the last.
  created: 'last',
  ...each('same', 'model', 'service_tier', 'system_fingerprint', 'provider'),
  // Random characters that hide the length of a token. No client reads them.
  obfuscation: 'last',
};

/** The rule for `usage`, where every event has it: running totals, of OpenAI and of providers that report more. */
export const openaiTotals: DeltaRule = {
  fields: {
    ...each('last', 'prompt_tokens', 'completion_tokens', 'total_tokens'),
    prompt_tokens_details: {
      fields: each('last', 'cached_tokens', 'audio_tokens', 'text_tokens', 'image_tokens'),
    },
    completion_tokens_details: {
      fields: each(
        'last',
        'reasoning_tokens',
        'audio_tokens',
        'accepted_prediction_tokens',
        'rejected_prediction_tokens',
      ),
    },
    ...each('last', 'prompt_cache_hit_tokens', 'prompt_cache_miss_tokens'),
    ...each('last', 'num_sources_used', 'cost_in_usd_ticks'),
  },
};

/**
 * The wire format of OpenAI's Chat Completions and of all providers that use it: Server-Sent Events without names, each
 * with one JSON object, `data: [DONE]` as the end marker, and errors as `{"error": {…}}`, in a body or an event. Some
 * providers send no marker. Their reply may end when each choice has its `finish_reason`.
 */
export const openaiChat: Format = {
  name: 'openai-chat',
  classify: classifyUnnamed,
  delta: {
    fields: {
      ...openaiConstants,
      choices: {
        only: {
          fields: {
            index: 'same',
            delta: {
              fields: {
                role: 'pins',
                index: 'same',
                content: 'text',
                refusal: 'text',
                // For these two fields, as for any unknown one, the official SDK keeps only the last value.
                reasoning_content: 'textButLast',
                reasoning: 'textButLast',
                // An event that begins a call has a name, and is never merged.
                function_call: { fields: { arguments: 'text' } },
                tool_calls: {
                  only: {
                    fields: {
                      ...each('same', 'index', 'id', 'type'),
                      function: { fields: { arguments: 'text' } },
                      custom: { fields: { input: 'text' } },
                    },
                  },
                },
                // Audio data is never merged: Base64 does not add up, unless it is padded by chance.
                audio: { fields: { transcript: 'text' } },
              },
            },
            logprobs: { fields: { content: 'items', refusal: 'items' } },
            // Two equal verdicts become one verdict on both texts.
            content_filter_results: 'same',
          },
        },
      },
      usage: openaiTotals,
    },
  },
  hasContent: (payload) =>
    listOf(objectOf(payload)['choices']).some((choice) => {
      const { delta, message } = objectOf(choice);
      return [delta, message].some((part) => {
        const { role: _, ...content } = objectOf(part);
        return Object.values(content).some(isFilled);
      });
    }),
  usage: openaiUsage,
  errorBody: openaiErrorBody,
  errorEvent: (error) => encoder.encode(`data: ${openaiErrorBody(error)}\n\n`),
  close: closeOpenaiChat,
};

const encoder = new TextEncoder();
const DONE = encoder.encode('[DONE]');
const classifyError = classifyErrors('choices');
const hasError = createByteSearch('"error"');
const choiceKeys: ChoiceKeys = {
  list: encoder.encode('choices'),
  reason: encoder.encode('finish_reason'),
};

/** Recognises `[DONE]` and errors, and looks for choices in all other payloads. */
export function classifyUnnamed(
  bytes: Uint8Array,
  start: number,
  end: number,
  choices: Choices,
): PayloadKind {
  if (bytes[start] === DONE[0] && equals(bytes, start, end, DONE)) return 'end';
  // Nearly every payload ends here: its list differs from the last one only in a text, and the parts of the list are
  // not looked at.
  const listEnd = choices.endOfAlike(bytes, start, end);
  if (listEnd !== -1 && (end - listEnd === 1 || !hasError(bytes, listEnd, end))) return 'content';
  const kind = classifyError(bytes, start, end, choices);
  if (kind === 'content') findChoices(bytes, start, end, choiceKeys, choices);
  return kind;
}

/**
 * Returns `usage` as Chat Completions and legacy Completions report it. OpenAI's `completion_tokens` have the reasoning in
 * them. xAI counts it beside them, and charges for it all the same: that shows in its total, which is then larger by it.
 */
export function openaiUsage(payload: unknown): ReturnType<Format['usage']> {
  const usage = objectOf(payload)['usage'];
  if (typeof usage !== 'object' || usage === null) return undefined;
  const {
    completion_tokens,
    completion_tokens_details: details,
    prompt_tokens,
    total_tokens,
  } = objectOf(usage);
  const [inputTokens, outputTokens] = [promptCountOf(prompt_tokens), tokenCountOf(completion_tokens)];
  if (inputTokens === undefined || outputTokens === undefined) return { inputTokens, outputTokens };
  const reasoning = tokenCountOf(objectOf(details)['reasoning_tokens']) ?? 0;
  const isBeside = tokenCountOf(total_tokens) === inputTokens + outputTokens + reasoning;
  return { inputTokens, outputTokens: isBeside ? outputTokens + reasoning : outputTokens };
}

function startsWith(bytes: Uint8Array, start: number, end: number, prefix: Uint8Array): boolean {
  if (end - start < prefix.length) return false;
  for (let index = 0; index < prefix.length; index += 1) {
    if (bytes[start + index] !== prefix[index]) return false;
  }
  return true;
}

function equals(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  // Some providers send trailing space. In an event with several data lines, the last line may be empty.
  let last = end;
  while (last > start && isSpace(bytes[last - 1])) last -= 1;
  return last - start === other.length && startsWith(bytes, start, last, other);
}
