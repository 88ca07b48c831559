import { gzipSync } from 'node:zlib';
import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { linesOf } from './support/log-lines.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { chatBody, metric, openai, postChat } from './support/requests.ts';
import {
  answers,
  hangsUp,
  isLate,
  refuses,
  type Script,
  type ScriptedProvider,
  startScriptedProvider,
  writeToken,
} from './support/scripted-provider.ts';

interface Two {
  readonly gateway: RunningGateway;
  readonly first: ScriptedProvider;
  readonly second: ScriptedProvider;
}

const fast = 'name=fast,targets=first/m1,fallback=second/m2';

/** Two providers, and a model that goes to the first and falls back to the second. */
async function startTwo({
  args = [],
  model = fast,
  first: ofFirst = '',
  api = 'openai',
  tail = '/v1',
}: {
  readonly args?: readonly string[];
  readonly model?: string;
  readonly first?: string;
  readonly api?: string;
  readonly tail?: string;
} = {}): Promise<Two> {
  const first = await startScriptedProvider('first');
  const second = await startScriptedProvider('second');
  const upstream = [first, second].map(
    ({ url }, at) =>
      `name=${at === 0 ? 'first' : 'second'},api=${api},url=${url}${tail},apiKeyEnv=PROVIDER_KEY${at === 0 ? ofFirst : ''}`,
  );
  const env = { PROVIDER_KEY: 'theirs' };
  const gateway = await startGateway(['--upstream', upstream.join(' '), '--model', model, ...args], { env });
  return { gateway, first, second };
}

async function textOf(response: Response): Promise<string> {
  return [...(await response.text()).matchAll(/"content":"([^"]*)"/g)].map(([, text]) => text).join('');
}

async function ask({ url }: RunningGateway, model = 'fast'): Promise<string> {
  const response = await postChat(url, model);
  return response.ok ? await textOf(response) : `${response.status} ${await response.text()}`;
}

describe('a model by a name of one’s own', () => {
  test('goes to its target, with that model’s name in the body and nothing else changed', async () => {
    const { first, gateway, second } = await startTwo();
    expect(await ask(gateway)).toBe('first.');
    expect(first.requests.map(({ bytes }) => bytes.toString())).toEqual([chatBody('m1')]);
    expect(first.requests[0]?.headers.authorization).toBe('Bearer theirs');
    expect(second.requests).toHaveLength(0);
  });

  test('is renamed in a body with a content coding, too', async () => {
    const { first, gateway } = await startTwo();
    const body = gzipSync(chatBody('fast'));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body });
    expect(await textOf(response)).toBe('first.');
    expect(first.requests[0]?.bytes.toString()).toBe(chatBody('m1'));
    expect(first.requests[0]?.headers['content-encoding']).toBeUndefined();
  });

  test('is renamed in a form', async () => {
    const { first, gateway } = await startTwo();
    const form = new FormData();
    form.append('model', 'fast');
    form.append('file', new Blob(['first']), 'a.wav');
    await (await fetch(`${gateway.url}/v1/audio/transcriptions`, { method: 'POST', body: form })).text();
    expect(first.models()).toEqual(['m1']);
  });

  test('is renamed in paths that name it', async () => {
    const gemini = await startTwo({ api: 'gemini', tail: '' });
    const path = '/v1beta/models/fast:generateContent';
    const headers = { 'content-type': 'application/json' };
    const asked = await fetch(gemini.gateway.url + path, { method: 'POST', headers, body: '{}' });
    await asked.text();
    expect(gemini.first.requests.map((request) => request.path)).toEqual(['/v1beta/models/m1:generateContent']);
    const azure = await startTwo({ api: 'azure', tail: '/openai' });
    const body = chatBody('whatever');
    const deployment = '/openai/deployments/fast/chat/completions?api-version=2026-01-01';
    azure.first.scripts.set('m1', refuses(500));
    await (await fetch(azure.gateway.url + deployment, { method: 'POST', headers, body })).text();
    expect(azure.first.requests.map((request) => request.path)).toEqual(['/openai/deployments/m1/chat/completions']);
    expect(azure.second.requests.map((request) => request.path)).toEqual(['/openai/deployments/m2/chat/completions']);
    expect(azure.second.requests[0]?.bytes.toString()).toBe(body);
  });

  test('shares its requests between its targets by weight', async () => {
    const { first, gateway, second } = await startTwo({ model: 'name=fast,targets=3*first/m1 second/m2' });
    for (let at = 0; at < 40; at += 1) await ask(gateway);
    expect(first.requests.length + second.requests.length).toBe(40);
    expect(first.requests.length).toBeGreaterThan(second.requests.length);
    expect(second.requests.length).toBeGreaterThan(0);
  });

  test('may have no other provider’s key sent to it', async () => {
    const command = run([
      'config',
      '--upstream',
      'name=first,url=http://127.0.0.1:1/v1 name=second,url=http://127.0.0.1:2/v1',
      '--model',
      fast,
    ]);
    expect(await command.exited).toBe(2);
    expect(command.stderr()).toContain(
      'model.fast: expected a key (apiKeyEnv or apiKeyFile) of each provider where there are several',
    );
  });
});

const failures: readonly (readonly [string, Script])[] = [
  ['hangs up', hangsUp],
  ['answers 429', refuses(429, { 'retry-after': '1' })],
  ['answers 500', refuses(500)],
  ['answers 529', refuses(529)],
  ['answers 408', refuses(408)],
  [
    'answers with a page',
    (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>maintenance</html>'),
  ],
];

describe('where nothing was sent yet, the next target is asked', () => {
  test.each(failures)('if the first one %s', async (_name, script) => {
    const { first, gateway, second } = await startTwo();
    first.scripts.set('m1', script);
    expect(await ask(gateway)).toBe('second.');
    expect(first.models()).toEqual(['m1']);
    expect(second.requests.map(({ bytes }) => bytes.toString())).toEqual([chatBody('m2')]);
    expect(await metric(gateway.adminUrl, 'spillway_fallbacks_total')).toBe(1);
    const [line] = linesOf(gateway, 'asking the next target');
    expect(line).toMatchObject({ from: 'first/m1', to: 'second/m2' });
    const [ended] = await eventually(() => {
      const lines = linesOf(gateway, 'stream ended');
      return lines.length > 0 && lines;
    }, 'the line of its end');
    expect(ended).toMatchObject({ provider: 'second', model: 'fast', state: 'completed' });
  });

  test('if the first one cannot be reached', async () => {
    const second = await startScriptedProvider('second');
    const upstream = `name=first,url=http://127.0.0.1:9/v1,apiKeyEnv=K name=second,url=${second.url}/v1,apiKeyEnv=K`;
    const gateway = await startGateway(['--upstream', upstream, '--model', fast], { env: { K: 'k' } });
    expect(await ask(gateway)).toBe('second.');
  });

  test('if its first token is late, though its head came at once', async () => {
    const { first, gateway } = await startTwo({ first: ',firstTokenMs=200' });
    first.scripts.set('m1', isLate(20_000, 'first'));
    expect(await ask(gateway)).toBe('second.');
    // What comes in time is handed on.
    first.scripts.set('m1', isLate(20, 'first'));
    expect(await ask(gateway)).toBe('first.');
  });

  test('alone, a late first token fails', async () => {
    const { first, gateway } = await startTwo({ first: ',firstTokenMs=200', model: 'name=fast,targets=first/m1' });
    first.scripts.set('m1', isLate(20_000, 'first'));
    expect(await ask(gateway)).toMatch(/^504 .*no first token within 200 ms \(firstTokenMs\)/);
  });

  test('but not if it refuses what is asked for', async () => {
    const { first, gateway, second } = await startTwo();
    first.scripts.set('m1', refuses(400));
    expect(await ask(gateway)).toMatch(/^400 .*refused with 400/);
    expect(second.requests).toHaveLength(0);
  });

  test('but not behind a first token', async () => {
    const { first, gateway, second } = await startTwo();
    first.scripts.set('m1', (response) => {
      writeToken(response, 'begun');
      setTimeout(() => response.socket?.destroy(), 50);
    });
    const text = await ask(gateway);
    expect(text).toContain('begun');
    expect(text).not.toContain('second');
    expect(second.requests).toHaveLength(0);
  });

  test('but not for a client that has left', async () => {
    const { first, gateway, second } = await startTwo();
    let wasAsked = false;
    first.scripts.set('m1', (response) => {
      wasAsked = true;
      response.on('close', () => (wasAsked = false));
    });
    const leave = new AbortController();
    const left = postChat(gateway.url, 'fast', { signal: leave.signal }).catch(() => 'left');
    await eventually(() => wasAsked, 'the first one to be asked');
    leave.abort();
    expect(await left).toBe('left');
    await eventually(() => !wasAsked, 'the first one to be let go');
    expect(second.requests).toHaveLength(0);
  });

  test('of failures of all, the client gets the last', async () => {
    const { first, gateway, second } = await startTwo();
    first.scripts.set('m1', refuses(500));
    second.scripts.set('m2', refuses(503));
    expect(await ask(gateway)).toMatch(/^503 .*refused with 503/);
  });
});

describe('for one request of a client, no provider is asked more often than by its SDK alone', () => {
  async function requests(model: string, script: Script): Promise<readonly [first: number, second: number]> {
    const { first, gateway, second } = await startTwo({ model });
    for (const name of ['m1', 'm3']) first.scripts.set(name, script);
    second.scripts.set('m2', script);
    const client: OpenAI = openai(gateway.url, { maxRetries: 2 });
    const messages = [{ role: 'user', content: 'Hi' }] as const;
    await expect(
      client.chat.completions.create({ model: 'fast', messages: [...messages], stream: true }),
    ).rejects.toThrow();
    return [first.requests.length, second.requests.length];
  }

  test.each(failures)('with two providers, of which each %s', async (_name, script) => {
    const [first, second] = await requests(fast, script);
    expect(first).toBeLessThanOrEqual(3);
    expect(second).toBeLessThanOrEqual(3);
  });

  test.each(failures)('with two models of one provider, which %s', async (_name, script) => {
    const [first] = await requests('name=fast,targets=first/m1,fallback=first/m3', script);
    expect(first).toBeGreaterThanOrEqual(1);
    expect(first).toBeLessThanOrEqual(3);
  });
});

describe('a provider that is not asked', () => {
  test('is the one that fails too often, until it is well again', async () => {
    const { first, gateway, second } = await startTwo({ first: ',breakMs=300' });
    first.scripts.set('m1', refuses(500));
    for (let at = 0; at < 8; at += 1) expect(await ask(gateway)).toBe('second.');
    expect(first.requests).toHaveLength(5);
    expect(linesOf(gateway, 'a model fails too often and is not asked')).toMatchObject([
      { provider: 'first', model: 'm1', why: 'upstream_invalid (status 500)' },
    ]);
    first.scripts.set('m1', answers('first'));
    await eventually(async () => (await ask(gateway)) === 'first.', 'the first one to be tried again');
    await eventually(
      async () =>
        (await ask(gateway)) === 'first.' &&
        linesOf(gateway, 'a model is well and is asked as before').length === 1,
      'the first one to be asked as before',
    );
    expect(second.requests.length).toBeGreaterThanOrEqual(8);
  });

  test('alone, is a refusal at once, with the time when it is asked again', async () => {
    const { first, gateway } = await startTwo({ first: ',breakMs=60000', model: 'name=fast,targets=first/m1' });
    first.scripts.set('m1', hangsUp);
    for (let at = 0; at < 5; at += 1) expect(await ask(gateway)).toMatch(/^502 /);
    const response = await postChat(gateway.url, 'fast');
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(50);
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    expect(error.code).toBe('provider_unavailable');
    expect(error.message).toMatch(
      /^The model m1 of the provider first failed too often .*upstream_cut.* It is asked again in \d+ ms\.$/,
    );
    expect(first.requests).toHaveLength(5);
  });

  test('is the one that asks to be left alone', async () => {
    const { first, gateway, second } = await startTwo();
    first.scripts.set('m1', refuses(429, { 'retry-after': '60' }));
    for (let at = 0; at < 3; at += 1) expect(await ask(gateway)).toBe('second.');
    expect(first.requests).toHaveLength(1);
    expect(second.requests).toHaveLength(3);
  });

  test('is the one whose headers say that it has none left', async () => {
    const { first, gateway } = await startTwo();
    first.scripts.set('m1', (response, request) => {
      response.setHeader('x-ratelimit-remaining-requests', '0');
      response.setHeader('x-ratelimit-reset-requests', '1m0s');
      answers('first')(response, request);
    });
    expect(await ask(gateway)).toBe('first.');
    expect(await ask(gateway)).toBe('second.');
    expect(first.requests).toHaveLength(1);
  });
});

test('what a client’s own key is told is not true for others', async () => {
  const first = await startScriptedProvider('first');
  const upstream = `name=first,url=${first.url}/v1,breakMs=10s`;
  const gateway = await startGateway(['--upstream', upstream]);
  first.scripts.set('m1', refuses(429, { 'retry-after': '60' }));
  for (let at = 0; at < 8; at += 1) expect(await ask(gateway, 'm1')).toMatch(/^429 /);
  expect(first.requests).toHaveLength(8);
});
