import { openaiChat } from '@spillway/core/format/openai-chat';
import { z } from 'zod';
import type { ModelTool } from '../../model/model-tool.ts';
import type { Reasoner, ReasonEvent, ReasonMessage } from '../reasoner.ts';
import { askStage } from '../stage-request.ts';
import { readAnswer } from './answer-payloads.ts';
import { AskedTools } from './asked-tools.ts';
import { requestUrl, type TextModelOptions, who } from './text-model.ts';

/** How a model of text is reached. */
export interface OpenAiChatOptions extends TextModelOptions {
  /** The API's URL, with `http:` or `https:`, to which `/chat/completions` is added. Default: `https://api.openai.com/v1`. */
  readonly url?: string;
  /** Sent as `Authorization: Bearer`. Default: none. */
  readonly apiKey?: string;
  /** The longest answer, in tokens of the model; a longer one ends there, and counts as whole. Default: the model's own. */
  readonly maxOutputTokens?: number;
}

/** What is read of an event. An API may say more. */
const chunkShape = z.object({
  choices: z
    .array(
      z.object({
        index: z.number().default(0),
        delta: z
          .object({
            content: z.string().nullish(),
            tool_calls: z
              .array(
                z.object({
                  index: z.int().min(0).default(0),
                  id: z.string().nullish(),
                  function: z
                    .object({ name: z.string().nullish(), arguments: z.string().nullish() })
                    .nullish(),
                }),
              )
              .nullish(),
          })
          .nullish(),
      }),
    )
    .default([]),
});

class OpenAiChat implements Reasoner {
  readonly api = 'openai-chat';
  readonly #options: OpenAiChatOptions;
  readonly #url: URL;

  constructor(options: OpenAiChatOptions) {
    const { model, url = 'https://api.openai.com/v1' } = options;
    this.#options = options;
    this.#url = requestUrl(model, url, '/chat/completions');
  }

  async *answer(
    messages: readonly ReasonMessage[],
    { signal, tools }: { readonly tools: readonly ModelTool[]; readonly signal: AbortSignal },
  ): AsyncGenerator<ReasonEvent> {
    const { apiKey, fetch: ask, headers = {}, maxEventBytes, maxOutputTokens, model } = this.#options;
    const response = await askStage({
      who,
      url: this.#url,
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'text/event-stream',
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({
        model,
        messages: messages.map(wireMessage),
        stream: true,
        stream_options: { include_usage: true },
        ...(maxOutputTokens === undefined ? {} : { max_completion_tokens: maxOutputTokens }),
        ...(tools.length === 0 ? {} : { tools: tools.map(wireTool) }),
      }),
      signal,
      fetch: ask,
    });
    const calls = new AskedTools();
    for await (const { payload, usage } of readAnswer(response, {
      format: openaiChat,
      shape: chunkShape,
      maxEventBytes,
      signal,
    })) {
      for (const { delta, index } of payload.choices) {
        if (index !== 0) continue;
        if (typeof delta?.content === 'string' && delta.content !== '')
          yield { kind: 'text', text: delta.content };
        for (const { function: called, id, index: at } of delta?.tool_calls ?? [])
          calls.take({ index: at, id, name: called?.name, input: called?.arguments });
      }
      if (usage !== undefined) yield { kind: 'used', usage };
    }
    for (const call of calls.whole()) yield { kind: 'toolCalled', ...call };
  }
}

function wireMessage(message: ReasonMessage): object {
  switch (message.role) {
    case 'assistant': {
      const { text, tools } = message;
      const calls = tools.map(({ callId, input, name }) => ({
        id: callId,
        type: 'function',
        function: { name, arguments: input },
      }));
      const content = text === '' && calls.length > 0 ? null : text;
      return { role: 'assistant', content, ...(calls.length === 0 ? {} : { tool_calls: calls }) };
    }
    case 'tool':
      return { role: 'tool', tool_call_id: message.callId, content: message.output };
    default:
      return { role: message.role, content: message.text };
  }
}

function wireTool({ description, name, parameters }: ModelTool): object {
  return { type: 'function', function: { name, description, parameters } };
}

/**
 * A model of text that speaks OpenAI's Chat Completions: OpenAI's own, any of a gateway, and most others'. The answer is streamed, and
 * read as the conversation takes it. A tool is asked for when the answer is whole.
 *
 * What goes wrong is a `StageError`: `unauthorized` (401, 403), `rate_limited` (429), `refused` (another 4xx), `unreachable` (5xx,
 * or no connection), `lost` (an answer without its end, or with an error in it) and `bad_message`. No message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const reasoner = openOpenAiChat({ url: 'http://127.0.0.1:8080/v1', model: 'gpt-5-mini' });
 * ```
 */
export function openOpenAiChat(options: OpenAiChatOptions): Reasoner {
  return new OpenAiChat(options);
}
