import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogle } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  Agent,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  Runner,
  setTracingDisabled,
  tool as agentTool,
} from '@openai/agents';
import { isStepCount, type LanguageModel, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { bodyOf, type CutStream, cutEverywhere } from './cut-stream.ts';
import { type FormatName, toEvents } from './fixtures.ts';
import { args, chunk, opening, role } from './fixtures/chat-chunk.ts';
import { json, split } from './fixtures/fixture.ts';
import { writeResponse } from './fixtures/response-writer.ts';
import { replayInMemory } from './replay.ts';

/**
 * An agent must not run a call that was cut: not with half of its arguments, not with none, and not with arguments that
 * are JSON by chance. The loops of the AI SDK and of `@openai/agents` are asked what they run of streams that are cut
 * behind each of their events.
 */

setTracingDisabled(true);

const first = '{"place":"upper basin","days":3}';
const second = '{"place":"lower basin","at":{"hour":12}}';
const inputs = [first, second, '{}'];

/** Calls one after the other: two with arguments and one without any, then the end. */
const streams: Readonly<Record<Exclude<FormatName, 'openai-completions'>, readonly string[]>> = {
  'openai-chat': [
    role,
    opening(0, 'call_1', 'look'),
    ...args(0, first, 3),
    opening(1, 'call_2', 'look'),
    ...args(1, second, 3),
    opening(2, 'call_3', 'look'),
    ...args(2, '{}', 1),
    chunk({}, { finish_reason: 'tool_calls' }),
  ],
  'openai-responses': writeResponse((writer) => {
    for (const [at, input] of inputs.entries()) {
      const call = {
        type: 'function_call',
        id: `fc_${at}`,
        call_id: `call_${at}`,
        name: 'look',
        arguments: '',
      };
      const place = writer.open({ ...call, status: 'in_progress' });
      for (const delta of split(input, 3))
        writer.event('response.function_call_arguments.delta', { ...place, delta });
      writer.event('response.function_call_arguments.done', { ...place, arguments: input });
      writer.close({ ...call, arguments: input, status: 'completed' });
    }
  }),
  'anthropic-messages': [
    json({
      type: 'message_start',
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'm',
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 3, output_tokens: 1 },
      },
    }),
    ...inputs.flatMap((input, index) => [
      json({
        type: 'content_block_start',
        index,
        content_block: { type: 'tool_use', id: `toolu_${index}`, name: 'look', input: {} },
      }),
      ...split(input === '{}' ? '' : input, 3).map((piece) =>
        json({
          type: 'content_block_delta',
          index,
          delta: { type: 'input_json_delta', partial_json: piece },
        }),
      ),
      json({ type: 'content_block_stop', index }),
    ]),
    json({
      type: 'message_delta',
      delta: { stop_reason: 'tool_use', stop_sequence: null },
      usage: { output_tokens: 30 },
    }),
    json({ type: 'message_stop' }),
  ],
  gemini: [
    ...inputs.map((input) =>
      json({
        candidates: [
          {
            content: { role: 'model', parts: [{ functionCall: { name: 'look', args: JSON.parse(input) } }] },
            index: 0,
          },
        ],
      }),
    ),
    json({
      candidates: [{ content: { role: 'model', parts: [{ text: '' }] }, finishReason: 'STOP', index: 0 }],
    }),
  ],
};

/** How many of the calls were over when the stream was cut: their block was closed, or the next one had begun. */
function wholeCalls(format: keyof typeof streams, { runs }: CutStream): number {
  const text = runs.map(({ bytes }) => Buffer.from(bytes).toString()).join('');
  const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length;
  switch (format) {
    case 'openai-chat':
      return Math.max(0, count(/"id":"call_/g) - 1);
    case 'openai-responses':
      return count(/"type":"response\.output_item\.done"/g);
    case 'anthropic-messages':
      return count(/"type":"content_block_stop"/g);
    default:
      return count(/"functionCall"/g);
  }
}

type Open = (fetch: typeof globalThis.fetch) => LanguageModel;

const models: readonly [string, keyof typeof streams, Open][] = [
  ['@ai-sdk/openai, chat', 'openai-chat', (fetch) => createOpenAI({ apiKey: 'k', fetch }).chat('gpt-4.1')],
  [
    '@ai-sdk/openai-compatible',
    'openai-chat',
    (fetch) => createOpenAICompatible({ name: 'other', baseURL: 'http://localhost/v1', fetch })('m'),
  ],
  [
    '@ai-sdk/openai, responses',
    'openai-responses',
    (fetch) => createOpenAI({ apiKey: 'k', fetch }).responses('gpt-4.1'),
  ],
  [
    '@ai-sdk/anthropic',
    'anthropic-messages',
    (fetch) => createAnthropic({ apiKey: 'k', fetch })('claude-sonnet-4-5'),
  ],
  ['@ai-sdk/google', 'gemini', (fetch) => createGoogle({ apiKey: 'k', fetch })('gemini-3-pro-preview')],
];

/** What the AI SDK's loop runs of a stream. */
async function ranByAiSdk(body: readonly Uint8Array[], open: Open): Promise<unknown[]> {
  const ran: unknown[] = [];
  const look = tool({
    inputSchema: z.looseObject({}),
    execute: (input) => {
      ran.push(input);
      return 'seen';
    },
  });
  let asked = 0;
  const replay = replayInMemory(body);
  // What follows a step with calls is another request, which is refused.
  const fetch: typeof globalThis.fetch = (input, init) => {
    asked += 1;
    return asked === 1 ? replay(input, init) : Promise.resolve(new Response('{}', { status: 429 }));
  };
  const result = streamText({
    model: open(fetch),
    prompt: 'hi',
    tools: { look },
    stopWhen: isStepCount(3),
    maxRetries: 0,
    onError: () => undefined,
  });
  await result.consumeStream();
  return ran;
}

describe.each(models)(
  'promise 18: what the AI SDK runs of an answer that is cut, with %s',
  (_, format, open) => {
    test('is whole', async () => {
      const events = streams[format];
      const whole = inputs.map((input) => JSON.parse(input) as unknown);
      for (const cut of cutEverywhere(format, events)) {
        if (cut.isOver) continue;
        const ran = await ranByAiSdk(bodyOf(cut), open);
        // This version runs nothing at all of an answer whose reason is its length.
        const most = Math.min(ran.length, wholeCalls(format, cut));
        expect(ran, `behind event ${cut.behind}`).toEqual(whole.slice(0, most));
      }
    });

    test('is all of it where it is not cut', async () => {
      const bytes = toEvents(format, streams[format]).map((event) => Buffer.from(event));
      expect(await ranByAiSdk(bytes, open)).toHaveLength(inputs.length);
    });
  },
);

/** What the loop of `@openai/agents` runs of a stream. */
async function ranByAgent(
  body: readonly Uint8Array[],
  format: 'openai-chat' | 'openai-responses',
): Promise<unknown[]> {
  const ran: unknown[] = [];
  const look = agentTool({
    name: 'look',
    description: 'Looks.',
    strict: false,
    parameters: { type: 'object', properties: {}, required: [], additionalProperties: true },
    execute: (input) => {
      ran.push(input);
      return 'seen';
    },
  });
  let asked = 0;
  const replay = replayInMemory(body);
  const client = new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    logLevel: 'off',
    fetch: (input, init) => {
      asked += 1;
      return asked === 1 ? replay(input, init) : Promise.resolve(new Response('{}', { status: 429 }));
    },
  });
  const model =
    format === 'openai-chat'
      ? new OpenAIChatCompletionsModel(client, 'm')
      : new OpenAIResponsesModel(client, 'm');
  const agent = new Agent({ name: 'agent', instructions: '', model, tools: [look] });
  const result = await new Runner().run(agent, 'hi', { stream: true });
  // Its next request is refused, and it throws that; so does it where a response is incomplete.
  await (async () => {
    for await (const event of result) void event;
    await result.completed;
  })().catch(() => undefined);
  return ran;
}

describe.each(['openai-chat', 'openai-responses'] as const)(
  'promise 18: what @openai/agents runs of an answer of %s that is cut',
  (format) => {
    test('is whole', async () => {
      const whole = inputs.map((input) => JSON.parse(input) as unknown);
      for (const cut of cutEverywhere(format, streams[format])) {
        if (cut.isOver) continue;
        const ran = await ranByAgent(bodyOf(cut), format);
        // It runs nothing of a response that is incomplete.
        const most = format === 'openai-chat' ? wholeCalls(format, cut) : 0;
        expect(ran, `behind event ${cut.behind}`).toEqual(whole.slice(0, most));
      }
    });

    test('is all of it where it is not cut', async () => {
      const bytes = toEvents(format, streams[format]).map((event) => Buffer.from(event));
      expect(await ranByAgent(bytes, format)).toHaveLength(inputs.length);
    });
  },
);
