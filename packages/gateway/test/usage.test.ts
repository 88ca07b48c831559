import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { expect, onTestFinished, test } from 'vitest';
import { BodyUsage } from '../src/relay/body-usage.ts';
import { usageInBody } from '../src/relay/usage-in-body.ts';
import { lineWith } from './support/log-lines.ts';
import { startOwnProvider } from './support/own-provider.ts';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { postChat } from './support/requests.ts';

type End = TapRecord & { readonly kind: 'end' };

/** A gateway in front of a provider with all APIs, and the ends in its tap, by the model. */
async function startTapped(
  url: string,
): Promise<{ gateway: RunningGateway; endOf: (model: string) => Promise<End> }> {
  const folder = mkdtempSync(join(tmpdir(), 'usage-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'records.jsonl');
  const upstreams = `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`;
  const gateway = await startGateway(['--upstream', upstreams, '--tap', `to=file:${path}`]);
  const records = (): TapRecord[] =>
    readFileSync(path, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => parseRecord(Buffer.from(line)));
  const endOf = (model: string): Promise<End> =>
    eventually(() => {
      const all = records();
      const begin = all.find((record) => record.kind === 'begin' && record.model === model);
      return all.find((record): record is End => record.kind === 'end' && record.stream === begin?.stream);
    }, `the end of ${model}`);
  return { gateway, endOf };
}

async function post(url: string, body: object): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  return await (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).text();
}

test('what a provider reports is in the record and in the line: of every format, as a stream and in one piece', async () => {
  const simulator = await startSimulator();
  const { endOf, gateway } = await startTapped(simulator.url);
  const messages = [{ role: 'user', content: 'Hello' }];
  // At a pace, so that the beginning is not among the newest events.
  const name = (tokens: number): string => `sim:tokens=${tokens},tps=400,ttft=0`;
  const options = { stream_options: { include_usage: true } };
  const contents = [{ parts: [{ text: 'Hello' }] }];
  let tokens = 10;
  const asked: string[] = [];
  const ask = async (path: (model: string) => string, body: object): Promise<void> => {
    const model = name((tokens += 1));
    asked.push(model);
    await post(gateway.url + path(model), { ...body, ...(path('') === '/' ? {} : { model }) });
  };
  await ask(() => '/v1/chat/completions', { messages, stream: true, ...options });
  await ask(() => '/v1/chat/completions', { messages });
  await ask(() => '/v1/completions', { prompt: 'Hello', stream: true, ...options });
  await ask(() => '/v1/completions', { prompt: 'Hello' });
  await ask(() => '/v1/responses', { input: 'Hello', stream: true });
  await ask(() => '/v1/responses', { input: 'Hello' });
  await ask(() => '/v1/messages', { max_tokens: 100, messages, stream: true });
  await ask(() => '/v1/messages', { max_tokens: 100, messages });
  for (const method of ['streamGenerateContent?alt=sse', 'generateContent']) {
    const model = name((tokens += 1));
    asked.push(model);
    await post(`${gateway.url}/v1beta/models/${model}:${method}`, { contents });
  }
  expect(asked).toHaveLength(10);
  for (const model of asked) {
    const outputTokens = Number(/\d+/.exec(model)?.[0]);
    const { inputTokens, ...rest } = (await endOf(model)).usage ?? {};
    expect(rest, model).toEqual({ outputTokens, source: 'reported' });
    expect(inputTokens, model).toBeGreaterThan(0);
    expect(await lineWith(gateway, 'stream ended', { model }), model).toMatchObject({
      inputTokens,
      outputTokens,
    });
  }
});

test('the placeholder at the beginning of an Anthropic stream is no report of its answer', async () => {
  const simulator = await startSimulator();
  const { endOf, gateway } = await startTapped(simulator.url);
  // All at once, so that the beginning is among the newest events.
  const model = 'sim:tokens=200,tps=0,ttft=0,cut=8000';
  const body = { model, max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }], stream: true };
  await post(`${gateway.url}/v1/messages`, body).catch(() => undefined);
  const { state, usage } = await endOf(model);
  expect(state).toBe('failed');
  expect(usage).toMatchObject({ source: 'estimated' });
  expect(usage?.inputTokens).toBeGreaterThan(0);
  expect(usage?.outputTokens).toBeGreaterThan(20);
  expect((await lineWith(gateway, 'stream ended', { model }))['outputTokens']).toBeUndefined();
});

test('the line of a refusal has the provider’s status', async () => {
  const simulator = await startSimulator();
  const { gateway } = await startTapped(simulator.url);
  const model = 'sim:status=429';
  expect((await postChat(gateway.url, model)).status).toBe(429);
  expect(await lineWith(gateway, 'stream ended', { model })).toMatchObject({ state: 'failed', status: 429 });
});

test('what is not reported is estimated from the text, also of a client that leaves', async () => {
  const provider = await startOwnProvider();
  const { endOf, gateway } = await startTapped(provider.url);
  const leaving = new AbortController();
  const asked = postChat(gateway.url, 'leaver', { signal: leaving.signal });
  for (let event = 0; event < 30; event += 1) provider.say('a text of twenty-four b.');
  const reader = (await asked).body?.getReader();
  let text = '';
  while (text.split('twenty-four').length <= 30)
    text += Buffer.from((await reader?.read())?.value ?? []).toString();
  leaving.abort();
  expect(await endOf('leaver')).toMatchObject({
    state: 'cancelled',
    usage: { outputTokens: (30 * 24) / 4, source: 'estimated' },
  });
});

test('a body may be coded, large, and say whatever it likes', async () => {
  const usage = { prompt_tokens: 3, completion_tokens: 5 };
  const content = `it says {"usage": {"prompt_tokens": 9}} and ${JSON.stringify({ usage: { prompt_tokens: 8 } })}`;
  const body = (size: number): Buffer =>
    Buffer.from(
      JSON.stringify({
        choices: [{ message: { content: content + randomBytes(size).toString('base64') } }],
        usage,
        metadata: { usage: { prompt_tokens: 7 } },
      }),
    );
  const answers: Readonly<Record<string, readonly [Buffer, OutgoingHttpHeaders, boolean]>> = {
    plain: [body(10), {}, true],
    gzip: [gzipSync(body(1000)), { 'content-encoding': 'gzip' }, true],
    brotli: [brotliCompressSync(body(1000)), { 'content-encoding': 'br' }, true],
    large: [body(1_000_000), {}, true],
    largeCoded: [gzipSync(body(200_000)), { 'content-encoding': 'gzip' }, false],
    broken: [body(10), { 'content-encoding': 'gzip' }, true],
  };
  const provider = createServer((request, response) => {
    let asked = '';
    request.setEncoding('utf8').on('data', (text: string) => (asked += text));
    request.on('end', () => {
      const { model } = JSON.parse(asked) as { model: string };
      const [bytes, headers] = answers[model] ?? [];
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(bytes);
    });
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void provider.close());
  const { endOf, gateway } = await startTapped(
    `http://127.0.0.1:${(provider.address() as AddressInfo).port}`,
  );
  for (const [model, [, , isKnown]] of Object.entries(answers)) {
    // A body whose head is wrong cannot be decoded by the client.
    await postChat(gateway.url, model, { stream: false })
      .then((reply) => reply.text())
      .catch(() => '');
    expect((await endOf(model)).usage, model).toEqual(
      isKnown ? { inputTokens: 3, outputTokens: 5, source: 'reported' } : undefined,
    );
  }
});

test('usage is found in the end of a body, and only the body’s own', async () => {
  const own = '"usage":{"prompt_tokens":1,"completion_tokens":2}';
  const found = { inputTokens: 1, outputTokens: 2 };
  const bytes = (text: string): Buffer => Buffer.from(text);
  expect(usageInBody(openaiChat, bytes(`{${own}}`))).toEqual(found);
  expect(usageInBody(openaiChat, bytes(`cut}],${own},"x":{"y":[1,"}"]}}\n`))).toEqual(found);
  expect(usageInBody(openaiChat, bytes(`{"choices":[{${own}}]}`))).toBeUndefined();
  expect(usageInBody(openaiChat, bytes(`{${own}`))).toBeUndefined();
  expect(usageInBody(openaiChat, bytes('{"usage":null}'))).toBeUndefined();
  expect(usageInBody(openaiChat, bytes(JSON.stringify({ text: `{${own}}` })))).toBeUndefined();
  expect(usageInBody(openaiChat, bytes('nothing'))).toBeUndefined();
  expect(usageInBody(anthropicMessages, bytes('{"usage":{"input_tokens":1,"output_tokens":2}}'))).toEqual(
    found,
  );
  const metadata = '"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}';
  expect(usageInBody(gemini, bytes(`[{${metadata}},{${metadata}}]`))).toEqual(found);
  // In pieces of any size, the end is what is held.
  const whole = bytes(`{"text":"${'x'.repeat(200_000)}",${own}}`);
  for (const size of [7, 1000, 40_000, 70_000, whole.length]) {
    const body = new BodyUsage(openaiChat, undefined);
    for (let at = 0; at < whole.length; at += size) body.take(whole.subarray(at, at + size));
    expect(await body.read(), String(size)).toEqual({ usage: found, error: undefined });
  }
  const failed = new BodyUsage(openaiChat, undefined);
  failed.take(bytes('{"error":{"code":503}}'));
  expect(await failed.read()).toMatchObject({
    usage: undefined,
    error: { code: 'upstream_reported', status: 503 },
  });
  // Of the end of a larger one nobody can say.
  const large = new BodyUsage(openaiChat, undefined);
  large.take(bytes('x'.repeat(70_000)));
  large.take(bytes('{"error":{"code":503}}'));
  expect(await large.read()).toEqual({ usage: undefined, error: undefined });
});
