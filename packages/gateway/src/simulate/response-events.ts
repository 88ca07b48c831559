import {
  namedEvent,
  namedText,
  openaiError,
  type ReplyEvents,
  type ReplyFormat,
  type SimulatedReply,
} from './reply-format.ts';
import { openaiRefusals } from './refusal-words.ts';

/** OpenAI's Responses: one message with one part of text. */
export const responses: ReplyFormat = {
  events,
  whole: (reply, text, tokens) => response(reply, 'completed', [message(reply, 'completed', text)], tokens),
  error: openaiError,
  refusals: openaiRefusals,
  frame: namedText,
  recordedEnd: [],
};

function events(reply: SimulatedReply): ReplyEvents {
  let sequenceNumber = 0;
  const event = (type: string, rest: object): string => {
    const text = namedEvent({ type, sequence_number: sequenceNumber, ...rest });
    sequenceNumber += 1;
    return text;
  };
  const item = { output_index: 0, item_id: message(reply, 'in_progress')['id'] };
  const content = { ...item, content_index: 0 };
  return {
    first: () =>
      [
        event('response.created', { response: response(reply, 'in_progress', []) }),
        event('response.in_progress', { response: response(reply, 'in_progress', []) }),
        event('response.output_item.added', { output_index: 0, item: message(reply, 'in_progress') }),
        event('response.content_part.added', { ...content, part: part('') }),
      ].join(''),
    token: (delta) => event('response.output_text.delta', { ...content, delta, logprobs: [] }),
    end: (textOf, tokens) => {
      const text = textOf();
      const done = message(reply, 'completed', text);
      return [
        event('response.output_text.done', { ...content, text, logprobs: [] }),
        event('response.content_part.done', { ...content, part: part(text) }),
        event('response.output_item.done', { output_index: 0, item: done }),
        event('response.completed', { response: response(reply, 'completed', [done], tokens) }),
      ];
    },
    error: (error) => event('error', openaiError(error)),
  };
}

function response(
  { createdS, model, number }: SimulatedReply,
  status: string,
  output: readonly object[],
  tokens?: number,
): object {
  return {
    id: `resp_sim_${String(number).padStart(8, '0')}`,
    object: 'response',
    created_at: createdS,
    status,
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: {},
    model,
    output,
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    usage: tokens === undefined ? null : usage(tokens),
  };
}

function message({ number }: SimulatedReply, status: string, text?: string): Record<string, unknown> {
  return {
    id: `msg_sim_${String(number).padStart(8, '0')}`,
    type: 'message',
    status,
    role: 'assistant',
    content: text === undefined ? [] : [part(text)],
  };
}

function part(text: string): object {
  return { type: 'output_text', annotations: [], logprobs: [], text };
}

function usage(tokens: number): object {
  return {
    input_tokens: 1,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: tokens + 1,
  };
}
