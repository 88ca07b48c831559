import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { lineWith } from './support/log-lines.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { openRealtime, refusedRealtime, startRealtimeProvider, watched } from './support/realtime-peers.ts';
import { metric } from './support/requests.ts';

const env = { SPILLWAY_API_KEYS: 'clinic/web=sk-web,lab=sk-lab', KEY: 'provider-key' };
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

interface Opened {
  readonly provider: Awaited<ReturnType<typeof startRealtimeProvider>>;
  readonly gateway: RunningGateway;
  readonly url: string;
}

async function open(limits: string, more: readonly string[] = []): Promise<Opened> {
  const provider = await startRealtimeProvider();
  const upstream = `url=${provider.url},apiKeyEnv=KEY`;
  const gateway = await startGateway(['--upstream', upstream, '--tenant', `name=clinic,${limits}`, ...more], {
    env,
  });
  return { provider, gateway, url: `${gateway.url}/v1/realtime?model=gpt-realtime` };
}

/** The model has made an answer. */
function answer(socket: WebSocket, input: number, output: number): void {
  const usage = { total_tokens: input + output, input_tokens: input, output_tokens: output };
  socket.send(JSON.stringify({ type: 'response.done', event_id: 'e', response: { id: 'r', usage } }));
}

async function usageOf({ url }: RunningGateway, key = 'sk-web'): Promise<TenantReport> {
  return (await (await fetch(`${url}/usage`, { headers: bearer(key) })).json()) as TenantReport;
}

interface ErrorEvent {
  readonly type: string;
  readonly error: { readonly code: string; readonly message: string };
}

test('a conversation that has used up its tokens gets what waits, the reason, and a close; no other one begins', async () => {
  const { gateway, provider, url } = await open('tokensPerDay=1000', [
    '--price',
    'model=gpt-realtime,input=4,output=16',
  ]);
  const client = await openRealtime(url, { headers: bearer('sk-web') });
  const model = watched(await provider.next());
  answer(model.socket, 300, 100);
  await eventually(() => client.messages.length === 1, 'the first answer');
  expect((await usageOf(gateway)).streamsNow).toBe(1);
  // The words of the human are written down by another model.
  const words = 'conversation.item.input_audio_transcription.completed';
  const usage = { type: 'tokens', input_tokens: 20, output_tokens: 5, total_tokens: 25 };
  model.socket.send(JSON.stringify({ type: words, item_id: 'i', transcript: 'Hello.', usage }));
  answer(model.socket, 500, 200);
  expect(await client.closed).toBe('1008 A limit is reached: tokensPerDay.');
  expect(await model.closed).toBe('1001');
  const events = client.messages.map(({ data }) => JSON.parse(data.toString()) as ErrorEvent);
  expect(events.map(({ type }) => type)).toEqual(['response.done', words, 'response.done', 'error']);
  expect(events[3]?.error).toMatchObject({ type: 'rate_limit_exceeded', code: 'limit_reached' });
  expect(events[3]?.error.message).toContain('has used up its 1000 tokens today');
  expect(events[3]?.error.message).toContain('(tokensPerDay)');
  await lineWith(gateway, 'realtime session ended', {
    reason: 'limit',
    limit: 'tokensPerDay',
    closeCode: 1008,
    inputTokens: 820,
  });
  const { limits, streamsNow, usage: used } = await usageOf(gateway);
  expect(streamsNow).toBe(0);
  expect(used.today).toMatchObject({
    requests: 1,
    cut: 1,
    refused: 0,
    inputTokens: 820,
    outputTokens: 305,
    estimatedTokens: 0,
    cost: 820 * 4 + 305 * 16,
  });
  // What was beyond the limit is counted, too.
  await eventually(
    async () =>
      (await usageOf(gateway)).limits?.some(({ reserved, used: all }) => reserved === 0 && all === 1125),
    `the end to be counted (${JSON.stringify(limits)})`,
  );
  const refused = await refusedRealtime(url, { headers: bearer('sk-web') });
  expect(refused.status).toBe(429);
  expect(JSON.parse(refused.body)).toMatchObject({ error: { code: 'limit_reached' } });
  expect(refused.headers).toMatchObject({ 'x-should-retry': 'false', 'x-ratelimit-remaining-tokens': '0' });
  expect(provider.requests).toHaveLength(1);
  expect((await usageOf(gateway)).usage.today.refused).toBe(1);
  const cut = 'spillway_limit_cuts_total{scope="tenant",limit="tokensPerDay"}';
  expect(await metric(gateway.adminUrl, cut)).toBe(1);
});

test('a limit in money ends a conversation with 402 for the next one', async () => {
  const { provider, url } = await open('costPerDay=0.01', [
    '--price',
    'model=gpt-realtime,input=4,output=16',
  ]);
  const client = await openRealtime(url, { headers: bearer('sk-web') });
  answer(await provider.next(), 1000, 1000);
  expect(await client.closed).toBe('1008 A limit is reached: costPerDay.');
  expect((await refusedRealtime(url, { headers: bearer('sk-web') })).status).toBe(402);
});

test('answerMs is how long a conversation may be', async () => {
  const { gateway, provider, url } = await open('answerMs=300');
  const client = await openRealtime(url, { headers: bearer('sk-web') });
  const model = watched(await provider.next());
  expect(await client.closed).toBe('1008 A limit is reached: answerMs.');
  expect(await model.closed).toBe('1001');
  expect(client.messages.map(({ data }) => data.toString())).toEqual([
    expect.stringMatching(
      /^\{"type":"error".*The conversation has lasted \d+ ms, of at most 300 \(answerMs\)/u,
    ),
  ]);
  await lineWith(gateway, 'realtime session ended', { reason: 'limit' });
});

test('places, requests and models are checked at the upgrade, also of a key in a subprotocol', async () => {
  const { gateway, provider, url } = await open('streams=1,models=gpt-realtime', [
    '--wait-timeout-ms',
    '300',
  ]);
  const protocols = ['realtime', 'openai-insecure-api-key.sk-web'];
  const first = await openRealtime(url, { protocols });
  await provider.next();
  const waited = await refusedRealtime(url, { protocols });
  expect(waited.status).toBe(429);
  expect(waited.body).toContain('may have 1 stream at once, and has 1 (streams)');
  // Another tenant is not held.
  (await openRealtime(url, { headers: bearer('sk-lab') })).socket.close();
  const other = await refusedRealtime(`${gateway.url}/v1/realtime?model=gpt-5`, {
    headers: bearer('sk-web'),
  });
  expect(other.status).toBe(403);
  expect(JSON.parse(other.body)).toMatchObject({ error: { code: 'model_not_allowed' } });
  // Its place is free with its end, and one that waits gets it.
  const waiting = openRealtime(url, { protocols });
  first.socket.close();
  (await waiting).socket.close();
});

test('a conversation that no provider took costs a request and no token', async () => {
  const provider = await startRealtimeProvider((_request, socket) =>
    socket.end('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n'),
  );
  const gateway = await startGateway(
    ['--upstream', provider.url, '--tenant', 'name=clinic,tokensPerDay=1000,requests=2/min'],
    { env },
  );
  const url = `${gateway.url}/v1/realtime?model=m`;
  const ask = async (): Promise<number> => (await refusedRealtime(url, { headers: bearer('sk-web') })).status;
  expect(await ask()).toBe(503);
  expect(await ask()).toBe(503);
  expect(await ask()).toBe(429);
  const { limits } = await usageOf(gateway);
  expect(limits?.find(({ name }) => name === 'tokensPerDay')).toMatchObject({ used: 0, reserved: 0 });
});

test('who leaves in the midst of an answer pays for it, and cannot go around a limit so', async () => {
  const { gateway, provider, url } = await open('tokensPerDay=2000', [
    '--price',
    'model=gpt-realtime,input=4,output=16',
  ]);
  const said = {
    type: 'message',
    role: 'user',
    content: [{ type: 'input_text', text: 'Tell me more. '.repeat(30) }],
  };
  // A tenth of a second of sound, as PCM of 24 kHz.
  const delta = Buffer.alloc(4800).toString('base64');
  let conversations = 0;
  for (; conversations < 60; conversations += 1) {
    const client = await openRealtime(url, { headers: bearer('sk-web') }).catch(() => undefined);
    if (client === undefined) break;
    const { messages, socket: model } = watched(await provider.next());
    client.socket.send(JSON.stringify({ type: 'conversation.item.create', item: said }));
    client.socket.send(JSON.stringify({ type: 'response.create' }));
    await eventually(() => messages.length === 2, 'the question');
    model.send(JSON.stringify({ type: 'response.created', event_id: 'e', response: { id: 'r' } }));
    for (let at = 0; at < 64; at += 1)
      model.send(
        JSON.stringify({ type: 'response.output_audio.delta', event_id: 'e', response_id: 'r', delta }),
      );
    await eventually(() => client.messages.length === 65, 'the sound');
    client.socket.terminate();
    await eventually(
      async () => (await usageOf(gateway)).usage.today.requests === conversations + 1,
      'the end',
    );
  }
  // Each has a prompt of some 100 tokens and 6.4 s of sound, which are 128.
  expect(conversations).toBeGreaterThanOrEqual(6);
  expect(conversations).toBeLessThanOrEqual(10);
  const { estimatedTokens, inputTokens, outputTokens } = (await usageOf(gateway)).usage.today;
  expect(estimatedTokens).toBe(inputTokens + outputTokens);
  expect(outputTokens / conversations).toBeGreaterThan(100);
  expect(outputTokens / conversations).toBeLessThan(200);
  expect((await refusedRealtime(url, { headers: bearer('sk-web') })).status).toBe(429);
});

/** A conversation whose client has said some 500 tokens and then the `events`. */
async function conversationOf(events: readonly object[]): Promise<
  Opened & {
    readonly client: Awaited<ReturnType<typeof openRealtime>>;
    readonly model: WebSocket;
    readonly left: () => Promise<TenantReport['usage']['today']>;
  }
> {
  const opened = await open('tokensPerDay=100000');
  const { gateway, provider, url } = opened;
  const client = await openRealtime(url, { headers: bearer('sk-web') });
  const { messages, socket: model } = watched(await provider.next());
  const item = {
    type: 'message',
    role: 'user',
    content: [{ type: 'input_text', text: 'Go on. '.repeat(280) }],
  };
  const all = [{ type: 'conversation.item.create', event_id: 'item', item }, ...events];
  for (const event of all) client.socket.send(JSON.stringify(event));
  await eventually(() => messages.length === all.length, 'what the client says');
  const left = async (): Promise<TenantReport['usage']['today']> => {
    client.socket.terminate();
    return await eventually(async () => {
      const { today } = (await usageOf(gateway)).usage;
      return today.requests === 1 ? today : undefined;
    }, 'the end');
  };
  return { ...opened, client, model, left };
}

test('an event that is refused does not take back an answer that was asked, over sockets', async () => {
  const { client, left, model } = await conversationOf([
    { type: 'response.create' },
    { type: 'bogus' },
    { type: 'bogus', event_id: 'bogus' },
  ]);
  const error = { type: 'invalid_request_error', code: 'invalid_value', message: 'No.', event_id: 'bogus' };
  model.send(JSON.stringify({ type: 'error', event_id: 'e', error }));
  model.send(JSON.stringify({ type: 'error', event_id: 'e', error: { ...error, event_id: null } }));
  await eventually(() => client.messages.length === 2, 'the errors');
  const { estimatedTokens, inputTokens } = await left();
  expect(inputTokens).toBeGreaterThan(450);
  expect(estimatedTokens).toBe(inputTokens);
});

test('each of several answers that were asked for is paid, over sockets', async () => {
  const { client, gateway, left, model } = await conversationOf(
    ['a', 'b', 'c'].map((name) => ({ type: 'response.create', event_id: name })),
  );
  const error = { type: 'invalid_request_error', code: 'invalid_value', message: 'No.', event_id: 'b' };
  model.send(JSON.stringify({ type: 'error', event_id: 'e', error }));
  await eventually(() => client.messages.length === 1, 'the error');
  const { estimatedTokens, inputTokens } = await left();
  // Two of them: one was refused by its name.
  expect(inputTokens).toBeGreaterThan(900);
  expect(inputTokens).toBeLessThan(1400);
  expect(estimatedTokens).toBe(inputTokens);
  const used = (await usageOf(gateway)).limits?.find(({ name }) => name === 'tokensPerDay')?.used;
  expect(used).toBe(inputTokens);
});

test.each([
  ['an absurd prompt', { input_tokens: 9e15, output_tokens: 30 }, 'inputTokens', 450],
  ['a prompt alone', { input_tokens: 500 }, 'outputTokens', 20],
] as const)(
  'of a report with %s the other number is estimated, over sockets',
  async (_what, usage, name, least) => {
    const { client, gateway, left, model } = await conversationOf([{ type: 'response.create' }]);
    model.send(JSON.stringify({ type: 'response.created', event_id: 'e', response: { id: 'r' } }));
    for (let at = 0; at < 20; at += 1)
      model.send(JSON.stringify({ type: 'response.output_text.delta', event_id: 'e', delta: 'word ' }));
    model.send(JSON.stringify({ type: 'response.done', event_id: 'e', response: { id: 'r', usage } }));
    await eventually(() => client.messages.length === 22, 'the answer');
    const today = await left();
    expect(today[name]).toBeGreaterThanOrEqual(least);
    expect(today[name]).toBeLessThan(2 * least);
    expect(today.estimatedTokens).toBe(today[name]);
    expect(today.inputTokens + today.outputTokens - today[name]).toBe(name === 'inputTokens' ? 30 : 500);
    const used = (await usageOf(gateway)).limits?.find((limit) => limit.name === 'tokensPerDay')?.used;
    expect(used).toBe(today.inputTokens + today.outputTokens);
  },
);

test.each([
  ['openai/gpt-realtime', 'gpt-realtime'],
  ['gpt-realtime', 'openai/gpt-realtime'],
])('without limits, a price of %s is that of a conversation of %s', async (priced, asked) => {
  const provider = await startRealtimeProvider();
  const gateway = await startGateway(
    [
      '--upstream',
      `name=openai,url=${provider.url},apiKeyEnv=KEY`,
      '--price',
      `model=${priced},input=4,output=16`,
    ],
    { env },
  );
  const client = await openRealtime(`${gateway.url}/v1/realtime?model=${asked}`, {
    headers: bearer('sk-web'),
  });
  answer(await provider.next(), 300, 100);
  await eventually(() => client.messages.length === 1, 'the answer');
  client.socket.close();
  await eventually(async () => (await usageOf(gateway)).usage.today.requests === 1, 'the end');
  expect((await usageOf(gateway)).usage.today).toMatchObject({ cost: 300 * 4 + 100 * 16, unpricedTokens: 0 });
});
