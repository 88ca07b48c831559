import type { ClientEvent, StreamItem } from '@spillway/client';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { eventually, startBoth, startSimulator, startGateway } from '../../gateway/test/support/processes.ts';
import { clientFrame, RawWebSocket, textFrame } from '../../gateway/test/support/raw-websocket.ts';
import { metric, simulatorStats } from '../../gateway/test/support/requests.ts';
import { open, openFetch, rejection } from './support/clients.ts';
import { startNetwork } from './support/network.ts';

// The real gateway, with a simulated provider behind it.

const messages = [{ role: 'user' as const, content: 'Hi' }];

function chatOf(model: string): string {
  return JSON.stringify({ model, messages, stream: true });
}

function textOf(events: string): string {
  return [...events.matchAll(/^data: (\{.*)$/gm)]
    .map(
      ([, json = '{}']) => (JSON.parse(json) as OpenAI.ChatCompletionChunk).choices[0]?.delta.content ?? '',
    )
    .join('');
}

/** What the simulator says to the same request, by plain HTTP. */
async function plainText(url: string, model: string): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: chatOf(model),
  });
  return textOf(await response.text());
}

test('promise 4: the OpenAI SDK gets everything once, however often the network is lost', async () => {
  const { gateway, simulator } = await startBoth();
  const network = await startNetwork(gateway.url);
  const openai = new OpenAI({ apiKey: 'key', fetch: openFetch({ url: network.url }), maxRetries: 0 });
  const model = 'sim:tokens=300,tps=300,ttft=0';
  const parts: string[] = [];
  let count = 0;
  for await (const event of await openai.chat.completions.create({ model, messages, stream: true })) {
    parts.push(event.choices[0]?.delta.content ?? '');
    if (++count % 40 === 0) network.cut();
  }
  expect(network.cuts).toBeGreaterThan(2);
  expect(parts.join('')).toBe(await plainText(gateway.url, model));
  // One for the stream, one for the text that it is compared with.
  expect(await simulatorStats(simulator.url)).toHaveLength(2);
});

test('promise 4: many streams at once, and a network that is never there for long', async () => {
  const { gateway } = await startBoth();
  const network = await startNetwork(gateway.url);
  const fetch = openFetch({ url: network.url, windowBytes: 4096 });
  const headers = { 'content-type': 'application/json' };
  const ask = (index: number): Promise<Response> => {
    const body = chatOf(`sim:tokens=${100 + index},tps=100,ttft=0`);
    return fetch('/v1/chat/completions', { method: 'POST', headers, body });
  };
  // A first connection that comes to nothing would be none to come back over: they go by plain HTTP then.
  const first = await ask(0);
  const timer = setInterval(() => network.cut(), 150);
  try {
    const responses = [first, ...Array.from({ length: 7 }, (_, index) => ask(index + 1))];
    const texts = await Promise.all(responses.map(async (response) => textOf(await (await response).text())));
    for (const [index, text] of texts.entries()) {
      expect(text).toBe(await plainText(gateway.url, `sim:tokens=${100 + index},tps=0,ttft=0`));
    }
  } finally {
    clearInterval(timer);
  }
});

test('promise 1: what nobody reads stays in the gateway, and a body that is read on is whole', async () => {
  const { gateway } = await startBoth();
  const client = open({ url: gateway.url, windowBytes: 4096 });
  const model = 'sim:tokens=5000,tps=0,ttft=0';
  const reader = client.request('/v1/chat/completions', { body: chatOf(model), autoAck: true });
  await reader.response;
  await eventually(
    async () => reader.credit < 4096 && (await metric(gateway.adminUrl, 'spillway_waiting_bytes')) > 0,
    'that some of it waits in the gateway',
  );
  const parts: string[] = [];
  const decoder = new TextDecoder();
  for await (const item of reader)
    if (item.type === 'chunk') parts.push(decoder.decode(item.bytes, { stream: true }));
  expect(textOf(parts.join(''))).toBe(await plainText(gateway.url, model));
});

test('promise 6: an abort stops the model', async () => {
  const { gateway, simulator } = await startBoth();
  const abort = new AbortController();
  const response = await openFetch({ url: gateway.url })('/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: chatOf('sim:tokens=1000000,tps=200,ttft=0'),
    signal: abort.signal,
  });
  await response.body?.getReader().read();
  abort.abort();
  await eventually(
    async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
    'that the model is stopped',
  );
  expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')).toBe(1);
});

test('a second reader reads what the first does', async () => {
  const { gateway } = await startBoth();
  const client = open({ url: gateway.url });
  const body = chatOf('sim:tokens=100,tps=200,ttft=0');
  const first = client.request('/v1/chat/completions', { body, autoAck: true });
  const { url } = await first.response;
  const second = client.read(url, { from: 'start', overflow: 'coalesce', autoAck: true });
  const textOfReader = async (items: AsyncIterable<StreamItem>): Promise<string> => {
    const decoder = new TextDecoder();
    const parts: string[] = [];
    for await (const item of items)
      if (item.type === 'chunk') parts.push(decoder.decode(item.bytes, { stream: true }));
    return textOf(parts.join(''));
  };
  const [one, two] = await Promise.all([textOfReader(first), textOfReader(second)]);
  expect(two).toBe(one);
  expect(one.length).toBeGreaterThan(100);
  expect(await rejection(client.read('/streams/none').response)).toMatchObject({ code: 'not_found' });
});

test('errors come as by HTTP', async () => {
  const { gateway } = await startBoth();
  const openai = new OpenAI({ apiKey: 'key', fetch: openFetch({ url: gateway.url }), maxRetries: 0 });
  const failed = rejection(
    openai.chat.completions.create({ model: 'sim:status=429,retryAfter=60', messages, stream: true }),
  );
  expect(await failed).toBeInstanceOf(OpenAI.RateLimitError);
});

test('5.13 a request that there is no room for over a session goes by plain HTTP', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway(
    ['--upstream', `${simulator.url}/v1`, '--max-request-memory-bytes', '500000'],
    { env: { SPILLWAY_API_KEYS: 'secret-key' } },
  );
  const greedy = await RawWebSocket.open(gateway.url);
  // Half a message, and a ping whose pong says that the half was read.
  greedy.write(
    textFrame({ type: 'open', windowBytes: 65_536 }),
    clientFrame('text', 'x'.repeat(300_000), false),
    clientFrame('ping', 'read?'),
  );
  await eventually(() => greedy.count('pong read?') === 1, 'that half a message is read');
  const events: ClientEvent[] = [];
  const onEvent = (event: ClientEvent): void => void events.push(event);
  const fetch = openFetch({ url: gateway.url, onEvent, headers: { authorization: 'Bearer secret-key' } });
  const ask = (model: string, user: string): Promise<Response> =>
    fetch('/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages, stream: true, user }),
    });
  const response = await ask('sim:tokens=50,tps=0,ttft=0', 'x'.repeat(150_000));
  expect(response.status).toBe(200);
  expect(textOf(await response.text()).split(' ').length).toBeGreaterThan(40);
  expect(events).toContainEqual({ type: 'disconnected', code: 1013, reason: 'overloaded' });
  expect(events).toContainEqual({ type: 'fallback', code: 'no_session' });
  // One request arrived, once.
  expect(await simulatorStats(simulator.url)).toHaveLength(1);
  // For a small one there is room.
  await (await ask('sim:tokens=5,tps=0,ttft=0', '')).text();
  expect(events.filter(({ type }) => type === 'fallback')).toHaveLength(1);
});

test('a reader that comes back too late reads on from the history', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`, '--detach-grace-ms', '1']);
  const network = await startNetwork(gateway.url);
  const openai = new OpenAI({ apiKey: 'key', fetch: openFetch({ url: network.url }), maxRetries: 0 });
  const second = open({ url: gateway.url, headers: { authorization: 'Bearer key' } });
  // Of more, some would be merged while the first is away, and it could not come back in between.
  const model = 'sim:tokens=60,tps=100,ttft=0';
  const { data, response } = await openai.chat.completions
    .create({ model, messages, stream: true })
    .withResponse();
  // It keeps the stream alive while the first is away.
  const keeper = second.read(response.headers.get('content-location') ?? '', {
    overflow: 'coalesce',
    autoAck: true,
  });
  const kept = (async () => {
    for await (const _item of keeper);
  })();
  const parts: string[] = [];
  for await (const event of data) {
    parts.push(event.choices[0]?.delta.content ?? '');
    if (parts.length === 20) network.cut();
  }
  await kept;
  expect(parts.join('')).toBe(await plainText(gateway.url, model));
});
