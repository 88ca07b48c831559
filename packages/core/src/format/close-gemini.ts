import type { CutAnswer } from './format.ts';
import { isReasonValue, pick } from './payloads.ts';
import { listOf, numberOf, objectOf } from './json-object.ts';

/**
 * Ends an answer of `streamGenerateContent`: one event with `finishReason: "MAX_TOKENS"` for every candidate that is
 * open, the usage and the reason. Where the usage is the provider's own, it stays as it came, with all of its details.
 */
export function closeGemini({ events, note, usage: { inputTokens, outputTokens } }: CutAnswer): Uint8Array {
  const candidates = new Map<number, { readonly index: unknown; isOver: boolean }>();
  let isBlocked = false;
  let totals: unknown;
  for (const event of events) {
    const { candidates: list, promptFeedback, usageMetadata } = objectOf(event);
    totals = usageMetadata ?? totals;
    isBlocked ||= isReasonValue(objectOf(promptFeedback)['blockReason']);
    for (const [place, part] of listOf(list).entries()) {
      const { finishReason, index } = objectOf(part);
      const at = numberOf(index) ?? place;
      const candidate = candidates.get(at) ?? { index, isOver: false };
      candidate.isOver ||= isReasonValue(finishReason);
      candidates.set(at, candidate);
    }
  }
  if (candidates.size === 0 && !isBlocked) candidates.set(0, { index: 0, isOver: false });
  const isCounted = inputTokens !== undefined && outputTokens !== undefined;
  const own = objectOf(totals);
  const ownOutput = (numberOf(own['candidatesTokenCount']) ?? 0) + (numberOf(own['thoughtsTokenCount']) ?? 0);
  const isOwn = own['promptTokenCount'] === inputTokens && ownOutput === outputTokens;
  const payload = {
    candidates: [...candidates.values()]
      .filter(({ isOver }) => !isOver)
      // A content without parts makes the answer invalid for the SDK's chats, which then forget it.
      .map(({ index }) => ({
        content: { role: 'model', parts: [{ text: '' }] },
        finishReason: 'MAX_TOKENS',
        ...(index !== undefined && { index }),
      })),
    usageMetadata:
      isCounted && !isOwn
        ? {
            promptTokenCount: inputTokens,
            candidatesTokenCount: outputTokens,
            totalTokenCount: inputTokens + outputTokens,
          }
        : totals,
    ...pick(
      events.findLast((event) => event !== undefined),
      'modelVersion',
      'responseId',
      'createTime',
    ),
    spillway: note,
  };
  return new TextEncoder().encode(`data: ${JSON.stringify(payload)}\n\n`);
}
