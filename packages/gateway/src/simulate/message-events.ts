import {
  namedEvent,
  namedText,
  type ReplyEvents,
  type ReplyFormat,
  type SimulatedError,
  type SimulatedReply,
} from './reply-format.ts';
import { anthropicRefusals } from './refusal-words.ts';

/** Anthropic's Messages: one block of text. */
export const messages: ReplyFormat = {
  events,
  whole: (reply, text, tokens) => message(reply, [{ type: 'text', text }], 'end_turn', tokens),
  error,
  refusals: anthropicRefusals,
  frame: namedText,
  recordedEnd: [],
};

function events(reply: SimulatedReply): ReplyEvents {
  return {
    first: () =>
      [
        namedEvent({ type: 'message_start', message: message(reply, [], null, 1) }),
        namedEvent({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
        namedEvent({ type: 'ping' }),
      ].join(''),
    token: (text) =>
      namedEvent({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),
    end: (_text, tokens) => [
      namedEvent({ type: 'content_block_stop', index: 0 }),
      namedEvent({
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { output_tokens: tokens },
      }),
      namedEvent({ type: 'message_stop' }),
    ],
    error: (failure) => namedEvent(error(failure)),
  };
}

function message(
  { model, number }: SimulatedReply,
  content: readonly object[],
  stopReason: string | null,
  tokens: number,
): object {
  return {
    id: `msg_sim_${String(number).padStart(8, '0')}`,
    type: 'message',
    role: 'assistant',
    model,
    content,
    stop_reason: stopReason,
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: tokens },
  };
}

function error({ message: text, type }: SimulatedError): { readonly type: 'error'; readonly error: object } {
  return { type: 'error', error: { type, message: text } };
}
