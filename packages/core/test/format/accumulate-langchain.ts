import { AIMessageChunk } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { comparable, settled } from './comparable.ts';
import { type Replay, replayInMemory, type SseBody } from './replay.ts';

/** `stream()` with `@langchain/openai` on Chat Completions, its chunks joined by LangChain's own `concat`. */
export function langchainOpenaiChat(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  return run(langchainChat(replay(sse), false));
}

/** The same on Responses. */
export function langchainOpenaiResponses(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  return run(langchainChat(replay(sse), true));
}

function langchainChat(fetch: typeof globalThis.fetch, useResponsesApi: boolean): ChatOpenAI {
  const configuration = { fetch, logLevel: 'off' } as const;
  // Without logprobs it leaves them out.
  return new ChatOpenAI({
    model: 'gpt-4.1',
    apiKey: 'k',
    maxRetries: 0,
    logprobs: true,
    useResponsesApi,
    configuration,
  });
}

/** `concat` adds numbers, joins texts and lists, whatever their meaning: what was sent twice, or not at all, is seen. */
async function run(model: ChatOpenAI): Promise<unknown> {
  // The first chunk is joined with something, too: concat drops what has no value.
  let message = new AIMessageChunk('');
  const end = await settled(async () => {
    for await (const chunk of await model.stream('hi')) message = message.concat(chunk);
  });
  return { end, message: takeMessage(message) };
}

function takeMessage(message: AIMessageChunk): unknown {
  const { additional_kwargs, content, id, invalid_tool_calls, name, tool_call_chunks, tool_calls } = message;
  const { response_metadata, usage_metadata } = message;
  return comparable({
    additional_kwargs,
    content,
    // LangChain makes one up where the provider gives none.
    id: id?.startsWith('run-') === true ? 'its own' : id,
    invalid_tool_calls,
    name,
    response_metadata: withoutCount(response_metadata),
    tool_call_chunks,
    tool_calls,
    usage_metadata,
  });
}

/** The index of a choice, added up over its chunks: it says how many there were. */
function withoutCount(metadata: Record<string, unknown>): Record<string, unknown> {
  const { completion, ...rest } = metadata;
  return { ...rest, hasOtherChoices: typeof completion === 'number' && completion > 0 };
}
