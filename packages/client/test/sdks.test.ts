import Anthropic from '@anthropic-ai/sdk';
import { createOpenAI } from '@ai-sdk/openai';
import { streamText } from 'ai';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { openFetch } from './support/clients.ts';
import { type FakeGateway, startFakeGateway } from './support/fake-gateway.ts';

const pieces = ['Hello', ' wor', 'ld'];

function openaiEvents(): string[] {
  const events = pieces.map((content) => ({
    choices: [{ index: 0, delta: { role: 'assistant', content } }],
  }));
  const end = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] };
  return [...events, end].map(
    (event) => `data: ${JSON.stringify({ id: 'c', model: 'm', created: 1, ...event })}\n\n`,
  );
}

function anthropicEvents(): string[] {
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: 'm', type: 'message', role: 'assistant', model: 'm', content: [], usage };
  return [
    { type: 'message_start', message },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    ...pieces.map((text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

/** Sends events, the connection cut in the middle of them. */
async function answer(gateway: FakeGateway, events: readonly string[], path: string): Promise<void> {
  const middle = Math.floor(events.length / 2);
  const session = await gateway.session();
  expect((await session.frame('request')).path).toBe(path);
  session.respond(1);
  for (const [index, event] of events.slice(0, middle).entries()) session.data(1, index, index + 1, event);
  await session.settle();
  session.cut();
  const next = await gateway.session();
  const { offset } = await next.frame('resume');
  expect(offset).toBe(middle);
  next.respond(1);
  for (const [index, event] of events.slice(middle).entries()) {
    next.data(1, middle + index, middle + index + 1, event);
  }
  next.end(1);
}

test('promise 4: the official OpenAI SDK notices nothing of a lost connection', async () => {
  const gateway = await startFakeGateway();
  const openai = new OpenAI({ apiKey: 'key', fetch: openFetch({ url: gateway.url }), maxRetries: 0 });
  const answered = answer(gateway, [...openaiEvents(), 'data: [DONE]\n\n'], '/v1/chat/completions');
  const stream = openai.chat.completions.stream({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] });
  expect((await stream.finalChatCompletion()).choices[0]?.message.content).toBe(pieces.join(''));
  await answered;
});

test('3.4: to leave the loop over the OpenAI SDK stops the model', async () => {
  const gateway = await startFakeGateway();
  const baseURL = `${gateway.url}/v1`;
  const openai = new OpenAI({
    apiKey: 'key',
    baseURL,
    fetch: openFetch({ url: gateway.url }),
    maxRetries: 0,
  });
  const promise = openai.chat.completions.create({ model: 'm', messages: [], stream: true });
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, openaiEvents()[0] ?? '');
  for await (const event of await promise) {
    expect(event.choices[0]?.delta.content).toBe('Hello');
    break;
  }
  await session.frame('cancel');
});

test('an error status is thrown by the OpenAI SDK as its own', async () => {
  const gateway = await startFakeGateway();
  const openai = new OpenAI({ apiKey: 'key', fetch: openFetch({ url: gateway.url }), maxRetries: 0 });
  const failed = openai.chat.completions
    .create({ model: 'm', messages: [], stream: true })
    .catch((error) => error);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1, { status: 429, url: '', headers: { 'content-type': 'application/json' } });
  session.data(1, 0, 0, '{"error":{"message":"Slow down.","code":"rate_limited"}}');
  session.end(1);
  expect(await failed).toBeInstanceOf(OpenAI.RateLimitError);
});

test('promise 4: the official Anthropic SDK notices nothing of a lost connection', async () => {
  const gateway = await startFakeGateway();
  const anthropic = new Anthropic({ apiKey: 'key', fetch: openFetch({ url: gateway.url }), maxRetries: 0 });
  const answered = answer(gateway, anthropicEvents(), '/v1/messages');
  const stream = anthropic.messages.stream({
    model: 'm',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  expect(await stream.finalText()).toBe(pieces.join(''));
  await answered;
});

test('promise 4: the AI SDK notices nothing of a lost connection', async () => {
  const gateway = await startFakeGateway();
  const openai = createOpenAI({ apiKey: 'key', fetch: openFetch({ url: gateway.url }) });
  const answered = answer(gateway, [...openaiEvents(), 'data: [DONE]\n\n'], '/v1/chat/completions');
  const { text } = streamText({ model: openai.chat('m'), prompt: 'Hi', maxRetries: 0 });
  expect(await text).toBe(pieces.join(''));
  await answered;
});
