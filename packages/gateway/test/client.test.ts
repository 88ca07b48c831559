import Anthropic from '@anthropic-ai/sdk';
import { createOpenAI } from '@ai-sdk/openai';
import { streamText } from 'ai';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFetch, type FetchOptions, openClient, type SpillwayFetch } from '../../client/src/index.ts';
import { startCuttingProxy } from './support/cutting-proxy.ts';
import { eventually, startBoth } from './support/processes.ts';
import { chatBody, metric, simulatorStats } from './support/requests.ts';

/** A client's `fetch`, closed with the test. */
function fetchTo(url: string, options: FetchOptions = {}): SpillwayFetch {
  const fetch = createFetch({ url, ...options });
  onTestFinished(() => fetch.close());
  return fetch;
}

function sdk(url: string, options: FetchOptions = {}): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, fetch: fetchTo(url, options) });
}

async function textOf(openai: OpenAI, model: string): Promise<string> {
  const stream = await openai.chat.completions.create({ model, stream: true, messages: [] });
  let text = '';
  for await (const event of stream) text += event.choices[0]?.delta.content ?? '';
  return text;
}

/** The text of the deltas of an event stream. */
function contentOf(events: string): string {
  return [...events.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
}

function plain(url: string): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
}

describe('the client’s fetch, with official SDKs', () => {
  test('openai', async () => {
    const { gateway } = await startBoth();
    const model = 'sim:tokens=300,tps=0,ttft=0';
    expect(await textOf(sdk(gateway.url), model)).toBe(await textOf(plain(gateway.url), model));
  });

  test('@anthropic-ai/sdk', async () => {
    const { gateway } = await startBoth();
    const options = { baseURL: gateway.url, apiKey: 'none', maxRetries: 0 };
    const [own, bare] = [
      new Anthropic({ ...options, fetch: fetchTo(gateway.url) }),
      new Anthropic(options),
    ].map((anthropic) =>
      anthropic.messages
        .stream({ model: 'sim:tokens=200,tps=0,ttft=0', max_tokens: 1000, messages: [] })
        .finalText(),
    );
    expect(await own).toBe(await bare);
  });

  test('the AI SDK', async () => {
    const { gateway } = await startBoth();
    const provider = createOpenAI({
      baseURL: `${gateway.url}/v1`,
      apiKey: 'none',
      fetch: fetchTo(gateway.url),
    });
    const result = streamText({ model: provider.chat('sim:tokens=50,tps=0,ttft=0'), prompt: 'Hello' });
    expect((await result.text).length).toBeGreaterThan(100);
  });

  test('50 streams share one connection', async () => {
    const { gateway } = await startBoth();
    const proxy = await startCuttingProxy(gateway.url, () => Infinity);
    const openai = sdk(proxy.url);
    const models = Array.from({ length: 50 }, (_, index) => `sim:tokens=${100 + index},tps=0,ttft=0`);
    const texts = await Promise.all(models.map((model) => textOf(openai, model)));
    expect(proxy.connections()).toBe(1);
    expect(new Set(texts.map((text) => text.length)).size).toBeGreaterThan(40);
  });
});

describe('promise 4: a connection that is cut', () => {
  test.each([1, 2, 3])('again and again: every byte once and in order (%i)', async (seed) => {
    const { gateway } = await startBoth();
    let state = seed;
    const random = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
    // The first bytes are the upgrade: a cut in it is no lost connection, but none that was opened.
    const proxy = await startCuttingProxy(gateway.url, () => 2000 + Math.floor(random() * 20_000));
    const openai = sdk(proxy.url, { fallbackMs: 1 });
    const model = 'sim:tokens=600,tps=600,ttft=0';
    const [first, second] = await Promise.all([textOf(openai, model), textOf(openai, model)]);
    const expected = await textOf(plain(gateway.url), 'sim:tokens=600,tps=0,ttft=0');
    expect(first).toBe(expected);
    expect(second).toBe(expected);
    expect(proxy.cuts()).toBeGreaterThan(2);
  });

  test('for longer than the gateway waits: a typed error, and the model is stopped', async () => {
    const { gateway, simulator } = await startBoth(['--detach-grace-ms', '1000']);
    // The first connection lasts for a while, all others say nothing.
    const cuts = [20_000];
    const proxy = await startCuttingProxy(gateway.url, () => cuts.pop() ?? 0);
    const openai = sdk(proxy.url, { giveUpAfterMs: 3000 });
    await expect(textOf(openai, 'sim:tokens=100000,tps=500,ttft=0')).rejects.toMatchObject({
      code: 'connection_lost',
    });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
  });
});

describe('a consumer', () => {
  test('that does not read stops the flow in the gateway, where it is merged', async () => {
    const { gateway, simulator } = await startBoth();
    const fetch = fetchTo(gateway.url);
    const model = 'sim:tokens=3000,tps=0,ttft=0';
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody(model),
    });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'finished',
      'the provider to finish',
    );
    // 3,000 events of 250 bytes: what was taken of them is a window.
    expect(await metric(gateway.adminUrl, 'spillway_bytes_out_total')).toBeLessThan(40_000);
    const events = (await response.text()).split('\n\n');
    expect(events.length).toBeLessThan(300);
    expect(events.at(-2)).toBe('data: [DONE]');
  });

  test('that never reads makes the model wait, and is ended', async () => {
    const { gateway, simulator } = await startBoth(
      '--stall-timeout-ms 2000 --pause-ms 2000 --detach-grace-ms 1000'.split(' '),
    );
    const fetch = fetchTo(gateway.url);
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody('sim:tokens=1000000000,tps=0,ttft=0,size=50'),
    });
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === 1,
      'the model to wait',
    );
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    await expect(response.text()).rejects.toMatchObject({ code: 'reader_stalled' });
  });

  test('that aborts stops the model', async () => {
    const { gateway, simulator } = await startBoth();
    const abort = new AbortController();
    const openai = sdk(gateway.url);
    const stream = await openai.chat.completions.create(
      { model: 'sim:tokens=1000000,tps=50,ttft=0', stream: true, messages: [] },
      { signal: abort.signal },
    );
    for await (const _event of stream) abort.abort();
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')).toBe(1);
  });
});

describe('below fetch', () => {
  test('a second reader gets the same, from the start and from an offset', async () => {
    const { gateway } = await startBoth();
    await using client = openClient({ url: gateway.url });
    const body = chatBody('sim:tokens=100,tps=200,ttft=0');
    const headers = { 'content-type': 'application/json' };
    const first = client.request('/v1/chat/completions', { body, headers, autoAck: true });
    const { url } = await first.response;
    const bytesOf = async (reader: AsyncIterable<unknown>): Promise<string> => {
      const parts: Uint8Array[] = [];
      for await (const item of reader as typeof first) if (item.type === 'chunk') parts.push(item.bytes);
      return Buffer.concat(parts).toString();
    };
    const second = client.read(url, { autoAck: true });
    const [one, two] = await Promise.all([bytesOf(first), bytesOf(second)]);
    expect(contentOf(two)).toBe(contentOf(one));
    // What is older was merged meanwhile.
    const late = await bytesOf(client.read(url, { from: 'start', autoAck: true }));
    expect(contentOf(late)).toBe(contentOf(one));
    await expect(bytesOf(client.read(url, { from: 1_000_000 }))).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(bytesOf(client.read('/streams/nobodys', {}))).rejects.toMatchObject({ code: 'not_found' });
  });
});
