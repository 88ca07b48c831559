import {
  openaiError,
  type ReplyEvents,
  type ReplyFormat,
  type SimulatedReply,
  unnamedEvent,
} from './reply-format.ts';
import { openaiRefusals } from './refusal-words.ts';

const done = unnamedEvent('[DONE]');

/** OpenAI's legacy Completions. */
export const completions: ReplyFormat = {
  events,
  whole: (reply, text, tokens) => completion(reply, [choice(text, 'stop')], { usage: usage(tokens) }),
  error: openaiError,
  refusals: openaiRefusals,
  frame: unnamedEvent,
  recordedEnd: [done],
};

function events(reply: SimulatedReply): ReplyEvents {
  const event = (choices: readonly object[], rest: object = {}): string =>
    unnamedEvent(JSON.stringify(completion(reply, choices, rest)));
  return {
    first: () => '',
    token: (text) => event([choice(text, null)]),
    end: (_text, tokens) => [
      event([choice('', 'stop')]),
      ...(reply.withUsage ? [event([], { usage: usage(tokens) })] : []),
      done,
    ],
    error: (error) => unnamedEvent(JSON.stringify(openaiError(error))),
  };
}

function completion(reply: SimulatedReply, choices: readonly object[], rest: object): object {
  return {
    id: `cmpl-sim-${String(reply.number).padStart(8, '0')}`,
    object: 'text_completion',
    created: reply.createdS,
    model: reply.model,
    choices,
    ...rest,
  };
}

function choice(text: string, finishReason: string | null): object {
  return { text, index: 0, logprobs: null, finish_reason: finishReason };
}

function usage(tokens: number): object {
  return { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 };
}
