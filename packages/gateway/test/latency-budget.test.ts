import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { mergeMsFor, windowBytesFor } from '../src/relay/latency-budget.ts';
import { linesOf } from './support/log-lines.ts';
import { chunkOf, openRaw } from './support/raw-request.ts';
import { chatBody, metric, openai, postChat } from './support/requests.ts';
import {
  answers,
  isLate,
  openScriptedProvider,
  type ScriptedProvider,
  writeToken,
} from './support/scripted-provider.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';

let gateway: Command;
let url: string;
let adminUrl: string;
let first: ScriptedProvider;
let second: ScriptedProvider;
let simulator: Command;

beforeAll(async () => {
  first = await openScriptedProvider('first');
  second = await openScriptedProvider('second');
  simulator = spawnSpillway(['simulate', '--port', '0']);
  const simulated = await printed(simulator, /Simulated provider on (\S+)\/v1/);
  const key = 'apiKeyEnv=PROVIDER_KEY';
  const upstream = [
    `name=sim,url=${simulated}/v1,${key}`,
    `name=sim,api=anthropic,url=${simulated},${key}`,
    `name=first,url=${first.url}/v1,breakMs=10s,${key}`,
    `name=second,url=${second.url}/v1,${key}`,
    `name=narrow,url=${first.url}/v1,maxStreams=1,minStreams=1,waitMs=30s,${key}`,
  ];
  const model = [
    'name=brief,targets=sim/sim,budgetMs=400',
    'name=hurried,targets=first/uploaded,budgetMs=200',
    'name=slow,targets=first/slow,fallback=second/quick',
    'name=alone,targets=first/slow',
    'name=hung,targets=first/hangs,fallback=second/quick',
  ];
  const args = ['--port', '0', '--admin-port', '0', '--upstream', upstream.join(' ')];
  const env = { PROVIDER_KEY: 'theirs' };
  gateway = spawnSpillway(['serve', ...args, '--model', model.join(' ')], { env });
  url = await printed(gateway, /Spillway on (\S+)/);
  adminUrl = await printed(gateway, /metrics (\S+)\/metrics/);
});

afterAll(async () => {
  for (const { exited, process } of [gateway, simulator]) {
    process.kill('SIGKILL');
    await exited;
  }
  first.close();
  second.close();
});

const budget = (ms: number): Record<string, string> => ({ 'spillway-budget-ms': String(ms) });

describe('2.15: the latency budget of an answer', () => {
  test('of a name is spent by the upload of its request, too, and nobody is asked', async () => {
    // On a connection that is there already, whoever asks does so at once.
    await (await postChat(url, 'first/before')).text();
    const upload = await openRaw(url, { 'transfer-encoding': 'chunked' });
    const body = Buffer.from(chatBody('hurried'));
    upload.socket.write(chunkOf(body.subarray(0, 10)));
    await sleep(400);
    // The name is in the body, so that nobody knows its budget before that is whole.
    expect(upload.answer()).toBe('');
    upload.socket.write(Buffer.concat([chunkOf(body.subarray(10)), chunkOf(Buffer.alloc(0))]));
    await eventually(() => upload.answer().includes('limit_reached'), 'the answer');
    expect(upload.answer()).toMatch(/^HTTP\/1\.1 504 [^]*The answer took \d{3} ms, of at most 200 /);
    expect(first.requestsFor('uploaded')).toEqual([]);
  });

  test.each([
    ['in chunks', { 'transfer-encoding': 'chunked' }],
    ['of a length', { 'content-length': '1000000' }],
  ])('of a request ends an upload %s that has spent it, and gives back what was held', async (_how, sent) => {
    const isChunked = 'transfer-encoding' in sent;
    const upload = await openRaw(url, { ...budget(1000), ...sent });
    const startMs = performance.now();
    const piece = Buffer.alloc(1000, ' ');
    upload.socket.write(isChunked ? chunkOf(piece) : piece);
    const timer = setInterval(() => upload.socket.write(isChunked ? chunkOf(piece) : piece), 50);
    upload.socket.once('close', () => clearInterval(timer));
    onTestFinished(() => clearInterval(timer));
    await eventually(async () => (await metric(adminUrl, 'spillway_requests_held_bytes')) > 0, 'bytes');
    await eventually(() => upload.answer().includes('limit_reached'), 'the answer');
    // It goes on sending for as long as its connection is there: nobody waits for its end.
    const answeredMs = performance.now() - startMs;
    expect(answeredMs).toBeGreaterThan(990);
    expect(answeredMs).toBeLessThan(3500);
    expect(upload.answer()).toMatch(
      /^HTTP\/1\.1 504 [^]*x-should-retry: false[^]*The answer took \d+ ms, of at most 1000 /i,
    );
    expect(upload.answer()).toMatch(/connection: close/i);
    await upload.closed();
    expect(await metric(adminUrl, 'spillway_requests_held_bytes')).toBe(0);
    expect(linesOf(gateway, 'request refused').at(-1)).toMatchObject({ status: 504, code: 'limit_reached' });
  });

  test('ends one that would outlast it as a whole message: Chat Completions', async () => {
    const stream = await openai(url).chat.completions.create(
      { model: 'sim/sim:tps=50,tokens=1000', messages: [{ role: 'user', content: 'Hi' }], stream: true },
      { headers: budget(700) },
    );
    let reason: string | null | undefined;
    let text = '';
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? '';
      reason = choices[0]?.finish_reason ?? reason;
    }
    expect(reason).toBe('length');
    expect(text.length).toBeGreaterThan(0);
    const ended = await eventually(
      () => linesOf(gateway, 'stream ended').find(({ model }) => model === 'sim/sim:tps=50,tokens=1000'),
      'the line of its end',
    );
    expect(ended).toMatchObject({ state: 'cancelled', code: 'limit_reached' });
    expect(String(ended['reason'])).toMatch(
      /^The answer took \d+ ms, of at most 700 \(Spillway-Budget-Ms, or budgetMs of its model\)\.$/,
    );
    expect(Number(ended['durationMs'])).toBeGreaterThanOrEqual(700);
  });

  test('of a model holds for who says nothing, and Anthropic’s SDK gets a whole message', async () => {
    const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 });
    const message = await client.messages
      .stream(
        { model: 'brief', max_tokens: 5000, messages: [{ role: 'user', content: 'Hi' }] },
        { headers: { 'x-simulate': 'tps=50,tokens=1000' } },
      )
      .finalMessage();
    expect(message.stop_reason).toBe('max_tokens');
    expect(message.content).toHaveLength(1);
  });

  test('is 504 where the answer has not begun in that time, and nothing is asked twice', async () => {
    first.scripts.set('slow', isLate(20_000, 'first'));
    const before = first.requests.length;
    const response = await postChat(url, 'alone', { headers: budget(300) });
    expect(response.status).toBe(504);
    const { error } = (await response.json()) as {
      readonly error: { readonly code: string; readonly message: string };
    };
    expect(error.code).toBe('limit_reached');
    expect(error.message).toMatch(/^The answer took \d+ ms, of at most 300 /);
    expect(response.headers.get('x-should-retry')).toBe('false');
    expect(first.requests.length).toBe(before + 1);
    expect(second.requests.length).toBe(0);
  });

  test('leaves out a target whose first token is expected too late, and asks nobody where that is all', async () => {
    first.scripts.set('slow', isLate(900, 'first'));
    for (let at = 0; at < 3; at += 1) await (await postChat(url, 'slow')).text();
    const before = first.requests.length;
    const response = await postChat(url, 'slow', { headers: budget(500) });
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('second');
    const refused = await postChat(url, 'alone', { headers: budget(500) });
    expect(refused.status).toBe(504);
    expect(await refused.text()).toMatch(
      /The answer was not asked for: its first token is expected in \d+ ms, and \d+ are left of its budget of 500/,
    );
    expect(first.requests.length).toBe(before);
    // With enough of it, it is asked.
    expect((await postChat(url, 'alone', { headers: budget(60_000) })).status).toBe(200);
  });

  test('leaves half of the time to the next target, where the first one hangs', async () => {
    first.scripts.set('hangs', () => undefined);
    const response = await postChat(url, 'hung', { headers: budget(2000) });
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('second');
    expect(first.requestsFor('hangs')).toHaveLength(1);
  });

  test('is spent while a request waits for its place', async () => {
    let release = (): void => undefined;
    first.scripts.set('held', (response, request) => {
      writeToken(response, 'begun');
      release = () => answers('first')(response, request);
    });
    const holder = await postChat(url, 'narrow/held');
    const waiting = await postChat(url, 'narrow/held', { headers: budget(300) });
    expect(waiting.status).toBe(504);
    release();
    expect(await holder.text()).toContain('first');
  });

  test.each(['0', '99', '3600001', 'soon', '1e3', ''])('is refused as %j', async (value) => {
    const response = await postChat(url, 'sim/sim', { headers: { 'spillway-budget-ms': value } });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('Spillway-Budget-Ms: expected 100 to 3600000 ms, got ');
  });

  test('does not reach the provider as a header', async () => {
    first.scripts.delete('seen');
    await (await postChat(url, 'first/seen', { headers: budget(60_000) })).text();
    expect(first.requestsFor('seen')[0]?.headers['spillway-budget-ms']).toBeUndefined();
  });
});

describe('what follows a budget', () => {
  test('merge pace: a short one means fresh text, a long one few writes', () => {
    const paces = [100, 2000, 4000, 20_000, 50_000, 3_600_000].map(mergeMsFor);
    expect(paces).toEqual([0, 0, 20, 100, 250, 250]);
  });

  test('window: what a model can say in that time, and never more than is configured', () => {
    const windows = [100, 1000, 4000, 60_000].map((ms) => windowBytesFor(ms, 262_144));
    expect(windows).toEqual([16_384, 32_000, 128_000, 262_144]);
    expect(windowBytesFor(100, 4096)).toBe(4096);
  });
});
