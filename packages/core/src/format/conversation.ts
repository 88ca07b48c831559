import type { Format } from './format.ts';
import { objectOf, tokenCountOf } from './json-object.ts';
import { openaiError, openaiErrorBody } from './openai-error.ts';
import { classifyByType } from './payload-type.ts';
import type { EventRun } from './sse.ts';

const encoder = new TextEncoder();

/**
 * What happens in a spoken conversation, whoever carries it and whichever model speaks: the words of both, what was heard
 * of an answer that was interrupted, tools, tokens, and where somebody wants it the sound itself.
 */
export type ConversationEvent =
  /** The human said or wrote something, as the model understood it. */
  | { readonly type: 'heard'; readonly item?: string | undefined; readonly text: string }
  /** The model said something. What was interrupted is not heard to its end. */
  | { readonly type: 'said'; readonly item?: string | undefined; readonly text: string }
  /** So many milliseconds of an item were heard, of those that there were, where that is known. */
  | {
      readonly type: 'interrupted';
      readonly item: string;
      readonly heardMs: number;
      readonly ofMs?: number | undefined;
    }
  | { readonly type: 'tool_called'; readonly call: string; readonly name: string; readonly input: string }
  /** The model was told a tool's result: in words where whoever carries the conversation sees them, and what became of the tool where it runs it. */
  | {
      readonly type: 'tool_answered';
      readonly call: string;
      readonly output?: string | undefined;
      readonly outcome?: string | undefined;
    }
  /** The tokens of the conversation so far. */
  | {
      readonly type: 'usage';
      readonly inputTokens?: number | undefined;
      readonly outputTokens?: number | undefined;
    }
  /** Sound, as it was sent: in base64. */
  | { readonly type: 'audio'; readonly from: 'human' | 'model'; readonly data: string }
  /** The model said that something was wrong. */
  | { readonly type: 'failed'; readonly code: string; readonly message: string };

/**
 * A conversation as a stream of events: Server-Sent Events with a {@link ConversationEvent} and its number, `n`, as JSON.
 * No wire has it: it is how conversations are written down.
 */
export const conversation: Format = {
  name: 'conversation',
  classify: classifyByType({ error: 'error' }, []),
  // Each event is whole, and none is merged with another.
  delta: { oneOf: [] },
  hasContent: (payload) => objectOf(payload)['type'] === 'said',
  usage: (payload) => {
    const { inputTokens, outputTokens, type } = objectOf(payload);
    if (type !== 'usage') return undefined;
    return { inputTokens: tokenCountOf(inputTokens), outputTokens: tokenCountOf(outputTokens) };
  },
  errorBody: openaiErrorBody,
  errorEvent: (error) => {
    const { code, message } = openaiError(error);
    return encoder.encode(`data: ${JSON.stringify({ type: 'error', code, message })}\n\n`);
  },
  // Nobody reads it as a message.
  close: () => undefined,
};

/** The event as one chunk of a channel. `n`: its number in the conversation, from 0. */
export function conversationRun(event: ConversationEvent, n: number): EventRun {
  const bytes = encoder.encode(`data: ${JSON.stringify({ n, ...event })}\n\n`);
  return { bytes, byteLength: bytes.length, events: 1 };
}
