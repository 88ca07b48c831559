import type { ServerResponse } from 'node:http';
import { createOpenAI } from '@ai-sdk/openai';
import { type AIMessageChunk, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { isStepCount, jsonSchema, Output, streamText, tool } from 'ai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFetch } from '../../client/src/index.ts';
import { comparable, settled } from '../../core/test/format/comparable.ts';
import { startGateway } from './support/processes.ts';
import { type ReadRequest, refuse, Refusal, startStrictProvider } from './support/strict-provider.ts';

/** LangChain and the AI SDK, with tools, structured answers and refusals: of a provider directly, and through the gateway. */

const words = ['{"city":', ' "Zür', 'ich", "notes"', ': ["a \\"b\\"", "', '\u{1F30A}"]}'];
const place = { city: 'Zürich', notes: ['a "b"', '\u{1F30A}'] };
const placeSchema = {
  type: 'object',
  properties: { city: { type: 'string' }, notes: { type: 'array', items: { type: 'string' } } },
  required: ['city', 'notes'],
  additionalProperties: false,
} as const;
const usage = { prompt_tokens: 21, completion_tokens: 168, total_tokens: 189 };

function chunk(delta: object, choice: object = {}, rest: object = {}): object {
  const choices = [{ index: 0, delta, finish_reason: null, ...choice }];
  return { id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices, ...rest };
}

const counted = { id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [], usage };
const thoughts = ['Where ', 'is ', 'it?'].map((text) =>
  chunk({ role: 'assistant', reasoning_content: text, content: null }),
);
const texts = words.map((content) => chunk({ role: 'assistant', content }));

/** Two calls of a tool, whose arguments come in turn. */
const calls = [
  ...[0, 1].map((index) =>
    chunk({
      role: 'assistant',
      tool_calls: [
        { index, id: `call_${index}`, type: 'function', function: { name: 'find', arguments: '' } },
      ],
    }),
  ),
  ...words.flatMap((text) =>
    [0, 1].map((index) =>
      chunk({ role: 'assistant', tool_calls: [{ index, function: { arguments: text } }] }),
    ),
  ),
  chunk({}, { finish_reason: 'tool_calls' }),
];

/** What a model with this name says. It refuses whatever OpenAI's own would not understand. */
function answer({ fields, path }: ReadRequest, response: ServerResponse): void {
  try {
    if (path !== '/v1/chat/completions') throw new Refusal(404, `There is no ${path}.`);
    const messages = fields['messages'] as { role: string; tool_call_id?: string; content: unknown }[];
    const model = String(fields['model']);
    const status = /^status-(\d+)$/.exec(model)?.[1];
    if (status !== undefined) throw new Refusal(Number(status), `Refused with ${status}.`);
    if (fields['stream'] !== true) throw new Refusal(400, 'Only streams are served.');
    if (model === 'tools' && fields['tools'] === undefined) throw new Refusal(400, 'There are no tools.');
    if (model === 'object' && fields['response_format'] === undefined) throw new Refusal(400, 'No format.');
    const results = messages.filter(({ role }) => role === 'tool');
    const isCalled = results.map((result) => result.tool_call_id).join() === 'call_0,call_1';
    if (results.length > 0 && !isCalled) throw new Refusal(400, 'These are not the results of both calls.');
    const stop = chunk({}, { finish_reason: 'stop' });
    const events: object[] =
      model === 'tools' && !isCalled
        ? [...thoughts, ...calls, counted]
        : model === 'failing'
          ? [...texts, { error: { message: 'The model failed.', type: 'server_error', code: 'overloaded' } }]
          : [...thoughts, ...texts, stop, counted];
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req-1' });
    for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
    response.end(model === 'failing' ? '' : 'data: [DONE]\n\n');
  } catch (error) {
    refuse(response, error);
  }
}

interface Way {
  readonly name: string;
  readonly baseURL: string;
  readonly headers: Record<string, string>;
  readonly fetch: typeof fetch;
}

type Ways = readonly [direct: Way, ...through: Way[]];

async function startWays(): Promise<Ways> {
  const provider = await startStrictProvider(answer);
  const gateway = await startGateway(['--upstream', `${provider.url}/v1`]);
  const session = createFetch({ url: gateway.url });
  onTestFinished(() => session.close());
  const direct = { name: 'direct', baseURL: `${provider.url}/v1`, headers: {}, fetch };
  const through = { ...direct, name: 'through', baseURL: `${gateway.url}/v1` };
  return [
    direct,
    through,
    { ...through, name: 'merged', headers: { 'Spillway-Merge-Ms': '50' } },
    { ...through, name: 'session', fetch: session },
  ];
}

/** Runs a program in each way; what comes of it has to be the same. Returns it. */
async function same([direct, ...through]: Ways, run: (way: Way) => Promise<unknown>): Promise<unknown> {
  const expected = await settled(() => run(direct));
  for (const way of through) expect(await settled(() => run(way)), way.name).toEqual(expected);
  return expected;
}

function langchain({ baseURL, fetch: fetchBy, headers }: Way, model: string): ChatOpenAI {
  const configuration = { baseURL, defaultHeaders: headers, fetch: fetchBy, logLevel: 'off' } as const;
  return new ChatOpenAI({ model, apiKey: 'k', maxRetries: 0, configuration });
}

async function concat(chunks: AsyncIterable<AIMessageChunk>): Promise<AIMessageChunk> {
  let message: AIMessageChunk | undefined;
  for await (const part of chunks) message = message === undefined ? part : message.concat(part);
  if (message === undefined) throw new Error('There was no chunk.');
  return message;
}

const find = { name: 'find', description: 'Finds a place.', parameters: placeSchema };
const statuses = [400, 401, 404, 422, 429, 500, 503];

describe('LangChain', () => {
  test('calls tools, and goes on with their results', async () => {
    const expected = await same(await startWays(), async (way) => {
      const model = langchain(way, 'tools').bindTools([{ type: 'function', function: find }]);
      const question = new HumanMessage('Where?');
      const first = await concat(await model.stream([question]));
      const results = (first.tool_calls ?? []).map(
        ({ args, id = '' }) => new ToolMessage({ content: JSON.stringify(args), tool_call_id: id }),
      );
      const second = await concat(await model.stream([question, first, ...results]));
      return { first: first.toDict(), second: second.toDict() };
    });
    expect(expected).toMatchObject({
      first: {
        data: {
          tool_calls: [
            { name: 'find', args: place, id: 'call_0' },
            { name: 'find', args: place, id: 'call_1' },
          ],
          additional_kwargs: { reasoning_content: 'Where is it?' },
          usage_metadata: { input_tokens: 21, output_tokens: 168, total_tokens: 189 },
        },
      },
      second: { data: { content: words.join(''), response_metadata: { finish_reason: 'stop' } } },
    });
  });

  test('gives structured answers', async () => {
    const expected = await same(await startWays(), async (way) => {
      const model = langchain(way, 'object').withStructuredOutput(placeSchema, {
        name: 'place',
        method: 'jsonSchema',
      });
      let last: unknown;
      for await (const part of await model.stream('Where?')) last = part;
      return last;
    });
    expect(expected).toEqual(place);
  });

  test('gives the events of its own protocol', async () => {
    const expected = await same(await startWays(), async (way) => {
      const message = await langchain(way, 'text').streamEvents('Where?').output;
      const { additional_kwargs, content, response_metadata, usage_metadata } = message;
      return { additional_kwargs, content, response_metadata, usage_metadata };
    });
    expect(JSON.stringify(expected)).toContain(JSON.stringify(words.join('')).slice(1, -1));
  });

  test('throws refusals, and an error in the stream, as direct', async () => {
    const ways = await startWays();
    for (const model of [...statuses.map((status) => `status-${status}`), 'failing']) {
      const expected = await same(
        ways,
        async (way) => await concat(await langchain(way, model).stream('Where?')),
      );
      expect(expected, model).toHaveProperty(
        'error.message',
        expect.stringMatching(/Refused with|The model failed/),
      );
    }
  });
});

function aiSdk({ baseURL, fetch: fetchBy, headers }: Way, model: string) {
  return createOpenAI({ baseURL, apiKey: 'k', headers, fetch: fetchBy }).chat(model);
}

/** Less what is a clock's or chance's. */
function stepOf(step: Readonly<Record<string, unknown>>): unknown {
  const {
    content,
    finishReason,
    providerMetadata,
    rawFinishReason,
    reasoningText,
    toolCalls,
    toolResults,
    usage: used,
  } = step;
  return {
    content,
    finishReason,
    providerMetadata,
    rawFinishReason,
    reasoningText,
    toolCalls,
    toolResults,
    usage: used,
  };
}

describe('the AI SDK', () => {
  test('runs tools, and goes on with their results', async () => {
    const expected = await same(await startWays(), async (way) => {
      const result = streamText({
        model: aiSdk(way, 'tools'),
        prompt: 'Where?',
        maxRetries: 0,
        stopWhen: isStepCount(2),
        tools: {
          find: tool({
            inputSchema: jsonSchema<typeof place>(placeSchema),
            execute: ({ city, notes }) => `${city}: ${notes.join()}`,
          }),
        },
      });
      return (await result.steps).map((step) => stepOf(step as unknown as Record<string, unknown>));
    });
    expect(expected).toMatchObject([
      {
        finishReason: 'tool-calls',
        toolResults: [
          { input: place, output: 'Zürich: a "b",\u{1F30A}' },
          { input: place, output: 'Zürich: a "b",\u{1F30A}' },
        ],
        usage: { totalTokens: 189 },
      },
      { finishReason: 'stop' },
    ]);
  });

  test('gives structured answers, and what there is of them meanwhile', async () => {
    const expected = await same(await startWays(), async (way) => {
      const { output, partialOutputStream } = streamText({
        model: aiSdk(way, 'object'),
        prompt: 'Where?',
        maxRetries: 0,
        output: Output.object({ schema: jsonSchema<typeof place>(placeSchema) }),
      });
      let last: unknown;
      for await (const part of partialOutputStream) last = part;
      return { last, output: await output };
    });
    expect(expected).toEqual({ last: place, output: place });
  });

  test('gives refusals, and an error in the stream, as direct', async () => {
    const ways = await startWays();
    for (const model of [...statuses.map((status) => `status-${status}`), 'failing']) {
      const expected = await same(ways, async (way) => {
        const result = streamText({
          model: aiSdk(way, model),
          prompt: 'x',
          maxRetries: 0,
          onError: () => undefined,
        });
        const errors: unknown[] = [];
        let text = '';
        for await (const part of result.stream) {
          if (part.type === 'error') {
            const { isRetryable, responseBody, statusCode } = part.error as Record<string, unknown>;
            errors.push({ error: comparable(part.error), isRetryable, responseBody, statusCode });
          }
          if (part.type === 'text-delta') text += part.text;
        }
        return {
          errors: errors.map((error) => JSON.stringify(error).replaceAll(/127\.0\.0\.1:\d+/g, 'there')),
          text,
        };
      });
      expect(JSON.stringify(expected), model).toMatch(/Refused with|The model failed/);
    }
  });
});
