import {
  openaiError,
  type ReplyEvents,
  type ReplyFormat,
  type SimulatedReply,
  unnamedEvent,
} from './reply-format.ts';
import { openaiRefusals } from './refusal-words.ts';

const done = unnamedEvent('[DONE]');

/** OpenAI's Chat Completions. */
export const chat: ReplyFormat = {
  events,
  whole: (reply, content, tokens) => ({
    id: idOf(reply),
    object: 'chat.completion',
    created: reply.createdS,
    model: reply.model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content, refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: usage(tokens),
  }),
  error: openaiError,
  refusals: openaiRefusals,
  frame: unnamedEvent,
  recordedEnd: [done],
};

/** Written by hand: under load the simulator should not be what is slow. */
function events(reply: SimulatedReply): ReplyEvents {
  const head = `{"id":${JSON.stringify(idOf(reply))},"object":"chat.completion.chunk","created":${reply.createdS},"model":${JSON.stringify(reply.model)},"system_fingerprint":"fp_simulated",`;
  const choice = (delta: string, finishReason: string): string =>
    unnamedEvent(
      `${head}"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finishReason}}]}`,
    );
  return {
    first: () => choice('{"role":"assistant","content":"","refusal":null}', 'null'),
    token: (text) => choice(`{"content":${JSON.stringify(text)}}`, 'null'),
    end: (_text, tokens) => [
      choice('{}', '"stop"'),
      ...(reply.withUsage
        ? [unnamedEvent(`${head}"choices":[],"usage":${JSON.stringify(usage(tokens))}}`)]
        : []),
      done,
    ],
    error: (error) => unnamedEvent(JSON.stringify(openaiError(error))),
  };
}

function idOf({ number }: SimulatedReply): string {
  return `chatcmpl-sim-${String(number).padStart(8, '0')}`;
}

function usage(tokens: number): object {
  return { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 };
}
