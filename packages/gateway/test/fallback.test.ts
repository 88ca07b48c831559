import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { linesOf } from './support/log-lines.ts';
import { run } from './support/processes.ts';
import { chatBody, metric, openai, postChat } from './support/requests.ts';
import {
  answers,
  hangsUp,
  isLate,
  openScriptedProvider,
  refuses,
  type Script,
  type ScriptedProvider,
  writeToken,
} from './support/scripted-provider.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';

let gateway: Command;
let url: string;
let adminUrl: string;
let first: ScriptedProvider;
let second: ScriptedProvider;

const maxNames = 80;

/**
 * A gateway in front of two providers, of which the first has several names and sets of bounds, and with models for each test. What
 * is learned of one model is not told of another.
 */
beforeAll(async () => {
  first = await openScriptedProvider('first');
  second = await openScriptedProvider('second');
  const key = 'apiKeyEnv=PROVIDER_KEY';
  const upstream = [
    `name=first,url=${first.url}/v1,${key}`,
    `name=second,url=${second.url}/v1,${key}`,
    `name=quick,url=${first.url}/v1,breakMs=300,${key}`,
    `name=strict,url=${first.url}/v1,firstTokenMs=300,breakMs=1m,${key}`,
    `name=away,url=http://127.0.0.1:9/v1,${key}`,
    ...['gemini', 'azure'].flatMap((api) => [
      `name=first,api=${api},url=${first.url},${key}`,
      `name=second,api=${api},url=${second.url},${key}`,
    ]),
    // The clients' own keys pass through.
    `name=open,url=${first.url}/v1,breakMs=10s`,
  ];
  const model = Array.from({ length: maxNames }, (_, at) => [
    `name=fast${at},targets=first/a${at},fallback=second/b${at}`,
    `name=same${at},targets=first/a${at},fallback=first/c${at}`,
    `name=third${at},targets=first/a${at},fallback=first/c${at} second/b${at}`,
    `name=quick${at},targets=quick/a${at},fallback=second/b${at}`,
    `name=strict${at},targets=strict/a${at},fallback=second/b${at}`,
    `name=alone${at},targets=strict/a${at}`,
    `name=late${at},targets=strict/a${at},fallback=strict/c${at}`,
  ]).flat();
  model.push(
    'name=five,targets=first/five0,fallback=first/five1 first/five2 first/five3 first/five4',
    'name=away,targets=away/away,fallback=second/away',
    'name=shared,targets=3*first/s second/s',
  );
  const ports = ['--port', '0', '--admin-port', '0'];
  const args = [...ports, '--upstream', upstream.join(' '), '--model', model.join(' ')];
  gateway = spawnSpillway(['serve', ...args], { env: { PROVIDER_KEY: 'theirs' } });
  url = await printed(gateway, /Spillway on (\S+)/);
  adminUrl = await printed(gateway, /metrics (\S+)\/metrics/);
});

afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
  first.close();
  second.close();
});

let used = -1;

/** The models of a test, and what is asked of them. */
function fresh(): {
  readonly at: number;
  /** What the first provider does from now on. */
  readonly firstDoes: (script: Script) => void;
  readonly secondDoes: (script: Script) => void;
  readonly ofFirst: () => number;
  readonly ofSecond: () => number;
} {
  used += 1;
  const at = used;
  expect(at).toBeLessThan(maxNames);
  return {
    at,
    firstDoes: (script) => void ['a', 'c'].map((letter) => first.scripts.set(`${letter}${at}`, script)),
    secondDoes: (script) => void second.scripts.set(`b${at}`, script),
    ofFirst: () => first.requestsFor(`a${at}`).length + first.requestsFor(`c${at}`).length,
    ofSecond: () => second.requestsFor(`b${at}`).length,
  };
}

async function textOf(response: Response): Promise<string> {
  return [...(await response.text()).matchAll(/"content":"([^"]*)"/g)].map(([, text]) => text).join('');
}

/** The text of an answer, or the status and the error. */
async function ask(model: string): Promise<string> {
  const response = await postChat(url, model);
  return response.ok ? await textOf(response) : `${response.status} ${await response.text()}`;
}

const json = { 'content-type': 'application/json' } as const;

describe('a model by a name of one’s own', () => {
  test('goes to its target, with that model’s name in the body and nothing else changed', async () => {
    const { at, ofSecond } = fresh();
    expect(await ask(`fast${at}`)).toBe('first.');
    const requests = first.requestsFor(`a${at}`);
    expect(requests.map(({ bytes }) => bytes.toString())).toEqual([chatBody(`a${at}`)]);
    expect(requests[0]?.headers.authorization).toBe('Bearer theirs');
    expect(ofSecond()).toBe(0);
  });

  test('is renamed in a body with a content coding, too', async () => {
    const { at } = fresh();
    const body = gzipSync(chatBody(`fast${at}`));
    const headers = { ...json, 'content-encoding': 'gzip' };
    expect(await textOf(await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body }))).toBe(
      'first.',
    );
    const [request] = first.requestsFor(`a${at}`);
    expect(request?.bytes.toString()).toBe(chatBody(`a${at}`));
    expect(request?.headers['content-encoding']).toBeUndefined();
  });

  test('is renamed in a form', async () => {
    const { at } = fresh();
    const form = new FormData();
    form.append('model', `fast${at}`);
    form.append('file', new Blob(['first']), 'a.wav');
    await (await fetch(`${url}/v1/audio/transcriptions`, { method: 'POST', body: form })).text();
    expect(first.requestsFor(`a${at}`).map(({ path }) => path)).toEqual(['/v1/audio/transcriptions']);
  });

  test('is renamed in a path of Gemini', async () => {
    const { at, firstDoes } = fresh();
    firstDoes(refuses(500));
    const path = (model: string): string => `/v1beta/models/${model}:generateContent`;
    await (await fetch(url + path(`fast${at}`), { method: 'POST', headers: json, body: '{}' })).text();
    expect(first.requestsFor(`a${at}`).map((request) => request.path)).toEqual([path(`a${at}`)]);
    expect(second.requestsFor(`b${at}`).map((request) => request.path)).toEqual([path(`b${at}`)]);
  });

  test('is renamed in a path of Azure, whose body stays as it is', async () => {
    const { at, firstDoes } = fresh();
    firstDoes(refuses(500));
    const path = (model: string): string => `/openai/deployments/${model}/chat/completions`;
    const body = chatBody('whatever');
    const asked = await fetch(`${url}${path(`fast${at}`)}?api-version=1`, {
      method: 'POST',
      headers: json,
      body,
    });
    await asked.text();
    expect(first.requestsFor(`a${at}`).map((request) => request.path)).toEqual([path(`a${at}`)]);
    const [request] = second.requestsFor(`b${at}`);
    expect(request?.path).toBe(path(`b${at}`));
    expect(request?.bytes.toString()).toBe(body);
  });

  test('shares its requests between its targets by weight', async () => {
    for (let at = 0; at < 40; at += 1) await ask('shared');
    const [ofFirst, ofSecond] = [first, second].map(({ requestsFor }) => requestsFor('s').length);
    expect((ofFirst ?? 0) + (ofSecond ?? 0)).toBe(40);
    expect(ofFirst).toBeGreaterThan(ofSecond ?? 40);
    expect(ofSecond).toBeGreaterThan(0);
  });

  test('may have no other provider’s key sent to it', async () => {
    const upstream = 'name=first,url=http://127.0.0.1:1/v1 name=second,url=http://127.0.0.1:2/v1';
    const model = 'name=fast,targets=first/a,fallback=second/b';
    const command = run(['config', '--upstream', upstream, '--model', model]);
    expect(await command.exited).toBe(78);
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
  ['answers 503 and forbids another try', refuses(503, { 'x-should-retry': 'false' })],
  ['answers 408', refuses(408)],
  [
    'reports an error in place of a first token',
    (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('data: {"error":{"message":"no capacity","code":503}}\n\n');
    },
  ],
  [
    'ends its answer before a first token',
    (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\n');
      setTimeout(() => response.socket?.destroy(), 20);
    },
  ],
  [
    'answers with a page',
    (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>maintenance</html>'),
  ],
  [
    'sends to another origin',
    (response) => response.writeHead(307, { location: 'http://127.0.0.1:9/v1/chat/completions' }).end(),
  ],
];

describe('where nothing was sent yet, the next target is asked', () => {
  test.each(failures)('if the first one %s', async (_name, script) => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(script);
    const before = await fallbacks();
    expect(await ask(`fast${at}`)).toBe('second.');
    expect(ofFirst()).toBe(1);
    expect(second.requestsFor(`b${at}`).map(({ bytes }) => bytes.toString())).toEqual([chatBody(`b${at}`)]);
    expect(await fallbacks()).toBe(before + 1);
    const [from, to] = [`first/a${at}`, `second/b${at}`];
    const ended = await eventually(
      () => linesOf(gateway, 'stream ended').find(({ model }) => model === `fast${at}`),
      'the line of its end',
    );
    expect(ended).toMatchObject({ provider: 'second', state: 'completed' });
    expect(linesOf(gateway, 'asking the next target').filter((line) => line['from'] === from)).toMatchObject([
      { from, to },
    ]);
  });

  test('if the first one cannot be reached', async () => {
    expect(await ask('away')).toBe('second.');
  });

  test('if its first token is late, though its head came at once', async () => {
    const { at, firstDoes } = fresh();
    firstDoes(isLate(20_000, 'first'));
    expect(await ask(`strict${at}`)).toBe('second.');
    // What comes in time is handed on.
    firstDoes(isLate(1, 'first'));
    expect(await ask(`strict${at}`)).toBe('first.');
  });

  test('alone, a late first token fails', async () => {
    const { at, firstDoes } = fresh();
    firstDoes(isLate(20_000, 'first'));
    expect(await ask(`alone${at}`)).toMatch(/^504 .*no first token within 300 ms \(firstTokenMs\)/);
  });

  test('but not if it refuses what is asked for', async () => {
    const { at, firstDoes, ofSecond } = fresh();
    firstDoes(refuses(400));
    expect(await ask(`fast${at}`)).toMatch(/^400 .*refused with 400/);
    expect(ofSecond()).toBe(0);
  });

  test('but not if it redirects without saying where', async () => {
    const { at, firstDoes, ofSecond } = fresh();
    firstDoes((response) => void response.writeHead(307).end());
    expect(await ask(`fast${at}`)).toBe('307 ');
    expect(ofSecond()).toBe(0);
    const ended = await eventually(
      () => linesOf(gateway, 'stream ended').find(({ model }) => model === `fast${at}`),
      'the line of its end',
    );
    expect(ended).toMatchObject({ state: 'failed', code: 'upstream_invalid' });
  });

  test('but not behind a first token', async () => {
    const { at, firstDoes, ofSecond } = fresh();
    firstDoes((response) => {
      writeToken(response, 'begun');
      setTimeout(() => response.socket?.destroy(), 50);
    });
    const text = await ask(`fast${at}`);
    expect(text).toContain('begun');
    expect(text).not.toContain('second');
    expect(ofSecond()).toBe(0);
    const ended = await eventually(
      () => linesOf(gateway, 'stream ended').find(({ model }) => model === `fast${at}`),
      'the line of its end',
    );
    expect(ended).toMatchObject({ state: 'failed', code: 'upstream_cut' });
  });

  test('but not for a client that has left', async () => {
    const { at, firstDoes, ofSecond } = fresh();
    let isAsked = false;
    firstDoes((response) => {
      isAsked = true;
      response.on('close', () => (isAsked = false));
    });
    const leave = new AbortController();
    const left = postChat(url, `fast${at}`, { signal: leave.signal }).catch(() => 'left');
    await eventually(() => isAsked, 'the first one to be asked');
    leave.abort();
    expect(await left).toBe('left');
    await eventually(() => !isAsked, 'the first one to be let go');
    await eventually(
      () => linesOf(gateway, 'stream ended').find(({ model }) => model === `fast${at}`),
      'the line of its end',
    );
    expect(ofSecond()).toBe(0);
  });

  test('of failures of all, the client gets the last, and each was asked once', async () => {
    const { at, firstDoes, ofFirst, ofSecond, secondDoes } = fresh();
    firstDoes(refuses(500));
    secondDoes(refuses(503));
    expect(await ask(`fast${at}`)).toMatch(/^503 .*refused with 503/);
    expect([ofFirst(), ofSecond()]).toEqual([1, 1]);
  });
});

async function fallbacks(): Promise<number> {
  return await metric(adminUrl, 'spillway_fallbacks_total').catch(() => 0);
}

describe('for one request of a client, no provider is asked more often than by its SDK alone', () => {
  async function request(model: string): Promise<void> {
    const messages = [{ role: 'user', content: 'Hi' }] as const;
    const read = async (): Promise<string> => {
      const { chat } = openai(url, { maxRetries: 2 });
      let text = '';
      for await (const { choices } of await chat.completions.create({
        model,
        messages: [...messages],
        stream: true,
      }))
        text += choices[0]?.delta.content ?? '';
      return text;
    };
    await expect(read()).rejects.toThrow();
  }

  test.each(failures)('with two providers, of which each %s', async (_name, script) => {
    const { at, firstDoes, ofFirst, ofSecond, secondDoes } = fresh();
    firstDoes(script);
    secondDoes(script);
    await request(`fast${at}`);
    expect(ofFirst()).toBeLessThanOrEqual(3);
    expect(ofSecond()).toBeLessThanOrEqual(3);
  });

  /** What the SDK alone does not ask again for. */
  const answered = new Set([
    'ends its answer before a first token',
    'reports an error in place of a first token',
    'answers 503 and forbids another try',
    'answers with a page',
    'sends to another origin',
  ]);

  test.each(failures)('with two models of one provider, which %s', async (name, script) => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(script);
    await request(`same${at}`);
    expect(ofFirst()).toBe(answered.has(name) ? 1 : 2);
    const answer = await ask(`same${at}`);
    // The error is the provider's, and none of ours.
    expect(answer).not.toContain('internal_error');
    if (name === 'answers with a page') expect(answer).toMatch(/^502 .*upstream_invalid/);
    if (name === 'sends to another origin') expect(answer).toMatch(/^307 .*upstream_redirect/);
  });

  test('with two models of one provider that forbids another try, before another provider', async () => {
    const { at, firstDoes, ofFirst, ofSecond } = fresh();
    firstDoes(refuses(503, { 'x-should-retry': 'false' }));
    expect(await ask(`third${at}`)).toContain('second.');
    expect([ofFirst(), ofSecond()]).toEqual([1, 1]);
  });

  test.each([
    ['has a length', { ...json, 'content-length': '0' }, ''],
    ['has no length', json, ''],
    ['has no type', { 'content-length': '0' }, ''],
    ['has neither', {}, ''],
    ['is a plain text', { 'content-type': 'text/plain' }, ''],
    ['is of another type', { 'content-type': 'application/octet-stream' }, ''],
    ['is white space', json, '\n  \n'],
    ['says so', {}, '', 204],
    ['says so of JSON', json, '', 204],
  ])(
    'of an answer in one piece that is empty and %s goes to the next provider',
    async (...[, headers, body, status = 200]) => {
      const { at, firstDoes, ofFirst, ofSecond, secondDoes } = fresh();
      firstDoes((response) => void response.writeHead(status, headers).end(body));
      const asks = JSON.stringify({ model: `fast${at}`, messages: [{ role: 'user', content: 'Hello' }] });
      const post = (): Promise<Response> =>
        fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: json, body: asks });
      const response = await post();
      expect([response.status, ofFirst(), ofSecond()]).toEqual([200, 1, 1]);
      expect(await response.text()).toContain('second.');
      expect(await ask(`fast${at}`)).toBe('second.');
      // Of both, the client gets what the last one said, and that is no success.
      secondDoes((answer) => void answer.writeHead(status, headers).end(body));
      const last = await post();
      expect([last.status, await last.text()]).toEqual([status, body]);
      const ended = await eventually(
        () => linesOf(gateway, 'stream ended').filter(({ model }) => model === `fast${at}`)[2],
        'the line of its end',
      );
      expect(ended).toMatchObject({ state: 'failed', code: 'upstream_invalid', provider: 'second' });
    },
  );

  test.each([{ 'content-length': '0' }, { 'content-type': 'text/plain' }, 204])(
    'where no answer of a chat is due, one without a body is an answer: %j',
    async (head) => {
      const { at, firstDoes, ofFirst, ofSecond } = fresh();
      const [status, headers] = typeof head === 'number' ? [head, {}] : [200, head];
      firstDoes((response) => void response.writeHead(status, headers).end());
      const body = JSON.stringify({ model: `fast${at}`, input: 'Hello' });
      const response = await fetch(`${url}/v1/embeddings`, { method: 'POST', headers: json, body });
      expect([response.status, await response.text()]).toEqual([status, '']);
      expect([ofFirst(), ofSecond()]).toEqual([1, 0]);
      const ended = await eventually(
        () => linesOf(gateway, 'stream ended').find(({ model }) => model === `fast${at}`),
        'the line of its end',
      );
      expect(ended).toMatchObject({ state: 'completed', status });
    },
  );

  test.each([
    ['in its midst', '{"id":'],
    ['before its first byte', ''],
  ])('of an answer in one piece that is cut %s goes to the next provider', async (_, start) => {
    const { at, firstDoes, ofFirst, ofSecond } = fresh();
    firstDoes((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      response.write(start);
      setTimeout(() => response.socket?.destroy(), 50);
    });
    const body = JSON.stringify({ model: `fast${at}`, messages: [{ role: 'user', content: 'Hello' }] });
    const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: json, body });
    expect([response.status, ofFirst(), ofSecond()]).toEqual([200, 1, 1]);
    expect(await response.text()).toContain('second.');
  });

  test('with two models of one provider, whose first token is late', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(isLate(20_000, 'first'));
    await request(`late${at}`);
    expect(ofFirst()).toBe(1);
  });

  test('with five models of one provider', async () => {
    for (let at = 0; at < 5; at += 1) first.scripts.set(`five${at}`, refuses(503));
    await request('five');
    const counts = Array.from({ length: 5 }, (_, at) => first.requestsFor(`five${at}`).length);
    expect(counts).toEqual([1, 1, 1, 0, 0]);
  });
});

describe('a provider that is not asked', () => {
  test('is the one that sends to another origin, after some requests', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes((response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end());
    for (let request = 0; request < 8; request += 1) expect(await ask(`fast${at}`)).toBe('second.');
    expect(ofFirst()).toBe(5);
  });

  test('is the one that fails too often, until it is well again', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(refuses(500));
    for (let asked = 0; asked < 5; asked += 1) expect(await ask(`quick${at}`)).toBe('second.');
    expect(ofFirst()).toBe(5);
    const line = { provider: 'quick', model: `a${at}` };
    const lines = (message: string): object[] =>
      linesOf(gateway, message).filter(({ model }) => model === `a${at}`);
    expect(lines('a model fails too often and is not asked')).toMatchObject([
      { ...line, why: 'upstream_invalid (status 500)' },
    ]);
    firstDoes(answers('first'));
    await eventually(
      async () =>
        (await ask(`quick${at}`)) === 'first.' &&
        lines('a model is well and is asked as before').length === 1,
      'the first one to be asked as before',
    );
    expect(lines('a model is tried again')).toMatchObject([line]);
  });

  test('is the one that cuts what it began, too', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes((response) => {
      writeToken(response, 'begun');
      setTimeout(() => response.socket?.destroy(), 20);
    });
    // Each is a success and a failure: five of ten.
    for (let asked = 0; asked < 5; asked += 1) expect(await ask(`fast${at}`)).toContain('begun');
    expect(await ask(`fast${at}`)).toBe('second.');
    expect(ofFirst()).toBe(5);
  });

  test('alone, is a refusal at once, with the time when it is asked again', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(hangsUp);
    for (let asked = 0; asked < 5; asked += 1) expect(await ask(`alone${at}`)).toMatch(/^502 /);
    const response = await postChat(url, `alone${at}`);
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(50);
    const { error } = (await response.json()) as {
      readonly error: { readonly code: string; readonly message: string };
    };
    expect(error.code).toBe('provider_unavailable');
    expect(error.message).toMatch(
      /^The model a\d+ of the provider strict failed too often .*upstream_cut.* It is asked again in \d+ ms\.$/,
    );
    expect(ofFirst()).toBe(5);
  });

  test('is the one that asks to be left alone', async () => {
    const { at, firstDoes, ofFirst, ofSecond } = fresh();
    firstDoes(refuses(429, { 'retry-after': '60' }));
    for (let asked = 0; asked < 3; asked += 1) expect(await ask(`fast${at}`)).toBe('second.');
    expect(ofFirst()).toBe(1);
    expect(ofSecond()).toBe(3);
  });

  test('is the one whose headers say that it has none left', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes((response, request) => {
      response.setHeader('x-ratelimit-remaining-requests', '0');
      response.setHeader('x-ratelimit-reset-requests', '1m0s');
      answers('first')(response, request);
    });
    expect(await ask(`fast${at}`)).toBe('first.');
    expect(await ask(`fast${at}`)).toBe('second.');
    expect(ofFirst()).toBe(1);
  });

  test('is not the one that told a client’s own key to come later', async () => {
    const { at, firstDoes, ofFirst } = fresh();
    firstDoes(refuses(429, { 'retry-after': '60' }));
    for (let asked = 0; asked < 3; asked += 1) expect(await ask(`open/a${at}`)).toMatch(/^429 /);
    expect(ofFirst()).toBe(3);
  });
});
