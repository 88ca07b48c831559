import { EventScanner } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { invalid } from '@spillway/core/invalid';
import { z } from 'zod';
import type { ModelTool } from '../../model/model-tool.ts';
import type { AskedTool, Reasoner, ReasonEvent, ReasonMessage } from '../reasoner.ts';
import { StageError } from '../stage-error.ts';
import { askStage } from '../stage-request.ts';

const who = 'The model of text';
/** The most tools that an answer may ask for, and the longest arguments of one, in characters. */
const maxTools = 64;
const maxInputLength = 65_536;

/** How a model of text is reached. */
export interface OpenAiChatOptions {
  /** The model's name. */
  readonly model: string;
  /** The API's URL, with `http:` or `https:`, to which `/chat/completions` is added. Default: `https://api.openai.com/v1`. */
  readonly url?: string;
  /** Sent as `Authorization: Bearer`. Default: none. */
  readonly apiKey?: string;
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The longest answer, in tokens of the model; a longer one ends there, and counts as whole. Default: the model's own. */
  readonly maxOutputTokens?: number;
  /** The largest event of the answer, in bytes. Default: 1 MiB. */
  readonly maxEventBytes?: number;
  /** What asks. Default: the platform's `fetch`. */
  readonly fetch?: typeof fetch;
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
  usage: z
    .object({ prompt_tokens: z.number().default(0), completion_tokens: z.number().default(0) })
    .nullish(),
});

class OpenAiChat implements Reasoner {
  readonly api = 'openai-chat';
  readonly #options: OpenAiChatOptions;
  readonly #url: URL;

  constructor(options: OpenAiChatOptions) {
    const { model, url = 'https://api.openai.com/v1' } = options;
    if (model === '') throw invalid('model: expected the name of a model, got nothing.');
    if (!URL.canParse(url) || !['http:', 'https:'].includes(new URL(url).protocol))
      throw invalid(`url: expected a URL with http: or https:, got ${JSON.stringify(url)}.`);
    this.#options = options;
    this.#url = new URL(url);
    this.#url.pathname = `${this.#url.pathname.replace(/\/+$/, '')}/chat/completions`;
  }

  async *answer(
    messages: readonly ReasonMessage[],
    { signal, tools }: { readonly tools: readonly ModelTool[]; readonly signal: AbortSignal },
  ): AsyncGenerator<ReasonEvent> {
    const {
      apiKey,
      fetch: ask,
      headers = {},
      maxEventBytes = 1_048_576,
      maxOutputTokens,
      model,
    } = this.#options;
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
    const scanner = new EventScanner({ maxEventBytes, classify: openaiChat.classify });
    const calls = new AskedTools();
    for await (const bytes of bodyOf(response, signal)) {
      for (const chunk of chunksIn(bytes, scanner)) {
        signal.throwIfAborted();
        for (const { delta, index } of chunk.choices) {
          if (index !== 0) continue;
          if (typeof delta?.content === 'string' && delta.content !== '')
            yield { kind: 'text', text: delta.content };
          for (const call of delta?.tool_calls ?? []) calls.take(call);
        }
        if (chunk.usage)
          yield {
            kind: 'used',
            usage: { inputTokens: chunk.usage.prompt_tokens, outputTokens: chunk.usage.completion_tokens },
          };
      }
      if (scanner.hasFailed) throw new StageError('lost', `${who} failed in the middle of its answer.`);
      if (scanner.hasEnded) break;
    }
    if (!scanner.hasEnded && !scanner.hasFinished)
      throw new StageError('lost', `${who} did not end its answer.`);
    // Arguments are whole when the answer is.
    for (const call of calls.whole()) yield { kind: 'toolCalled', ...call };
  }
}

/** The tools that an answer asks for, of which the arguments come bit by bit. */
class AskedTools {
  readonly #calls = new Map<number, { id: string; name: string; input: string }>();

  take({
    function: called,
    id,
    index,
  }: {
    readonly index: number;
    readonly id?: string | null | undefined;
    readonly function?:
      | { readonly name?: string | null | undefined; readonly arguments?: string | null | undefined }
      | null
      | undefined;
  }): void {
    const call = this.#calls.get(index) ?? { id: '', name: '', input: '' };
    if (!this.#calls.has(index) && this.#calls.size === maxTools)
      throw new StageError('bad_message', `${who} asked for more than ${maxTools} tools at once.`);
    this.#calls.set(index, call);
    call.id ||= id ?? '';
    call.name ||= called?.name ?? '';
    call.input += called?.arguments ?? '';
    if (call.input.length > maxInputLength)
      throw new StageError(
        'bad_message',
        `${who} asked for a tool with more than ${maxInputLength} characters.`,
      );
  }

  whole(): readonly AskedTool[] {
    return [...this.#calls.values()].map(({ id, input, name }) => {
      if (id === '' || name === '')
        throw new StageError('bad_message', `${who} asked for a tool without an id or a name.`);
      return { callId: id, name, input: input === '' ? '{}' : input };
    });
  }
}

/** A body, bit by bit; a connection that ends in the middle is `lost`. */
async function* bodyOf({ body }: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of body ?? []) yield bytes;
  } catch (error) {
    signal.throwIfAborted();
    throw new StageError('lost', `${who} was cut in the middle of its answer.`, { cause: error });
  }
}

function chunksIn(bytes: Uint8Array, scanner: EventScanner): readonly z.infer<typeof chunkShape>[] {
  const found: z.infer<typeof chunkShape>[] = [];
  try {
    scanner.push(bytes, (run) => {
      for (const span of eventsIn(run.bytes)) {
        const data = Buffer.from(dataOf(run.bytes, span)).toString();
        if (data === '' || data === '[DONE]' || scanner.hasFailed) continue;
        found.push(chunkShape.parse(JSON.parse(data)));
      }
    });
  } catch (error) {
    throw new StageError('bad_message', `${who} sent what is not understood.`, { cause: error });
  }
  return found;
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
