import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import { expectWhole } from '@spillway/core/invalid';
import { z } from 'zod';
import type { ModelTool } from '../../model/model-tool.ts';
import type { Reasoner, ReasonEvent, ReasonMessage } from '../reasoner.ts';
import { StageError } from '../stage-error.ts';
import { askStage } from '../stage-request.ts';
import { readAnswer } from './answer-payloads.ts';
import { argumentsOf, AskedTools } from './asked-tools.ts';
import { requestUrl, type TextModelOptions, who } from './text-model.ts';
import { type Turn, turnsOf } from './turns.ts';

/** How a model of text is reached that speaks Anthropic's Messages. */
export interface AnthropicMessagesOptions extends TextModelOptions {
  /** The API's URL, with `http:` or `https:`, to which `/v1/messages` is added. Default: `https://api.anthropic.com`. */
  readonly url?: string;
  /** Sent as `x-api-key`. Default: none. */
  readonly apiKey?: string;
  /**
   * The longest answer, in tokens of the model; a longer one ends there, and counts as whole. The API wants one. 1 to 1,000,000,
   * default 1,024.
   */
  readonly maxOutputTokens?: number;
}

/** What is read of an event. */
const eventShape = z.object({
  type: z.string(),
  index: z.int().min(0).default(0),
  content_block: z
    .object({
      type: z.string(),
      id: z.string().nullish(),
      name: z.string().nullish(),
      text: z.string().nullish(),
    })
    .nullish(),
  delta: z
    .object({
      text: z.string().nullish(),
      partial_json: z.string().nullish(),
      stop_reason: z.string().nullish(),
    })
    .nullish(),
});

class AnthropicMessages implements Reasoner {
  readonly api = 'anthropic-messages';
  readonly #options: AnthropicMessagesOptions;
  readonly #url: URL;

  constructor(options: AnthropicMessagesOptions) {
    const { maxOutputTokens = 1024, model, url = 'https://api.anthropic.com' } = options;
    expectWhole('maxOutputTokens', maxOutputTokens, 1, 1_000_000);
    this.#options = { ...options, maxOutputTokens };
    this.#url = requestUrl(model, url, '/v1/messages');
  }

  async *answer(
    messages: readonly ReasonMessage[],
    { signal, tools }: { readonly tools: readonly ModelTool[]; readonly signal: AbortSignal },
  ): AsyncGenerator<ReasonEvent> {
    const { apiKey, fetch: ask, headers = {}, maxEventBytes, maxOutputTokens, model } = this.#options;
    const { system, turns } = turnsOf(messages);
    const response = await askStage({
      who,
      url: this.#url,
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'anthropic-version': '2023-06-01',
        ...(apiKey === undefined ? {} : { 'x-api-key': apiKey }),
      },
      body: JSON.stringify({
        model,
        max_tokens: maxOutputTokens,
        ...(system === undefined ? {} : { system }),
        messages: turns.map(wireTurn),
        stream: true,
        ...(tools.length === 0 ? {} : { tools: tools.map(wireTool) }),
      }),
      signal,
      fetch: ask,
    });
    const calls = new AskedTools();
    for await (const { payload, usage } of readAnswer(response, {
      format: anthropicMessages,
      shape: eventShape,
      maxEventBytes,
      signal,
    })) {
      const { content_block: block, delta, index, type } = payload;
      if (type === 'content_block_start') {
        if (block?.type === 'tool_use') calls.take({ index, id: block.id, name: block.name });
        if (block?.type === 'text' && block.text) yield { kind: 'text', text: block.text };
      } else if (type === 'content_block_delta') {
        if (delta?.text) yield { kind: 'text', text: delta.text };
        // Of tools that the API runs itself, too: those have not begun here.
        if (delta?.partial_json && calls.has(index)) calls.take({ index, input: delta.partial_json });
      }
      if (usage !== undefined) yield { kind: 'used', usage };
      // A filter of the provider has cut it. What was said of it is no answer.
      if (delta?.stop_reason === 'refusal')
        throw new StageError('lost', `${who} stopped in the middle of its answer (refusal).`);
    }
    for (const call of calls.whole()) yield { kind: 'toolCalled', ...call };
  }
}

function wireTurn({ messages, role }: Turn): object {
  return {
    role,
    content: messages.flatMap((message): object[] => {
      if (message.role === 'tool')
        return [{ type: 'tool_result', tool_use_id: message.callId, content: message.output }];
      const text = message.text.trim() === '' ? [] : [{ type: 'text', text: message.text }];
      if (message.role !== 'assistant') return text;
      const asked = message.tools.map((tool) => ({
        type: 'tool_use',
        id: tool.callId,
        name: tool.name,
        input: argumentsOf(tool),
      }));
      return [...text, ...asked];
    }),
  };
}

function wireTool({ description, name, parameters }: ModelTool): object {
  return { name, description, input_schema: parameters };
}

/**
 * A model of text that speaks Anthropic's Messages (`/v1/messages`): Anthropic's own, or one of a gateway. The answer is streamed,
 * and read as the conversation takes it. A tool is asked for when the answer is whole. The API wants a human to speak first and last:
 * where none has, it is told that nothing was said.
 *
 * What goes wrong is a `StageError`: `unauthorized` (401, 403), `rate_limited` (429, 529), `refused` (another 4xx), `unreachable`
 * (5xx, or no connection), `lost` (an answer without its end, with an error in it, or that a filter has cut) and `bad_message`. No
 * message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const reasoner = openAnthropicMessages({ apiKey, model: 'claude-haiku-4-5' });
 * ```
 */
export function openAnthropicMessages(options: AnthropicMessagesOptions): Reasoner {
  return new AnthropicMessages(options);
}
