import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { postChat } from './support/requests.ts';
import {
  answers,
  openScriptedProvider,
  type Script,
  type ScriptedProvider,
} from './support/scripted-provider.ts';
import { type Command, printed, spawnSpillway } from './support/spawn.ts';

let gateway: Command;
let simulator: Command;
let scripted: ScriptedProvider;
let spare: ScriptedProvider;
let folder: string;
let url: string;

const idleTimeoutMs = 1500;

/** Simulated providers with the APIs of all, and a gateway with names for what the first of two targets does. */
beforeAll(async () => {
  simulator = spawnSpillway(['simulate', '--port', '0']);
  scripted = await openScriptedProvider('scripted');
  spare = await openScriptedProvider('spare');
  const simulated = await printed(simulator, /Simulated provider on (\S+)\/v1/);
  const upstreams = [
    { api: 'openai', url: `${simulated}/v1` },
    { api: 'anthropic', url: simulated },
    { api: 'gemini', url: simulated },
  ];
  const named = (name: string, bounds: object = {}): object[] =>
    upstreams.map((upstream) => ({ name, ...upstream, ...bounds, apiKeyEnv: 'KEY' }));
  const fallback = 'other/spare:tokens=2,ttft=0,tps=0';
  // What is learned of one model is not told of another: each API has models of its own.
  const model = (name: string, behaviour: string): object[] =>
    apis.flatMap(({ id }) => [
      { name: `${name}-${id}`, targets: `first/first-${id}:${behaviour}`, fallback },
      { name: `${name}-alone-${id}`, targets: `first/first-${id}:${behaviour}` },
    ]);
  folder = mkdtempSync(join(tmpdir(), 'spillway-first-token-'));
  const settings = {
    idleTimeoutMs,
    upstream: [
      ...named('first', { firstTokenMs: 300, breakMs: '1m' }),
      ...named('other'),
      ...named('measured', { maxStreams: 10 }),
      { name: 'scripted', url: `${scripted.url}/v1`, apiKeyEnv: 'KEY', breakMs: '1m' },
      { name: 'spare', url: `${spare.url}/v1`, apiKeyEnv: 'KEY' },
    ],
    model: [
      ...model('late', 'early,ttft=20000'),
      ...model('failing', 'early,ttft=20,error=0'),
      ...model('empty', 'early,ttft=20,tokens=0'),
      ...model('good', 'early,ttft=20,tokens=2'),
      { name: 'chain', targets: 'scripted/a', fallback: 'spare/b' },
      { name: 'json', targets: 'scripted/c', fallback: 'spare/b' },
    ],
  };
  writeFileSync(join(folder, 'spillway.yaml'), stringify(settings));
  const args = ['serve', '--port', '0', '--admin-port', '0'];
  gateway = spawnSpillway(args, { cwd: folder, env: { KEY: 'theirs' } });
  url = await printed(gateway, /Spillway on (\S+)/);
});

afterAll(async () => {
  for (const { exited, process } of [gateway, simulator]) {
    process.kill('SIGKILL');
    await exited;
  }
  scripted.close();
  spare.close();
  rmSync(folder, { recursive: true });
});

interface Api {
  readonly id: string;
  readonly name: string;
  readonly path: (model: string) => string;
  readonly rest: object;
  /** What is there before the first token; `undefined`: nothing. */
  readonly opening: string | undefined;
}

const messages = [{ role: 'user', content: 'Hi' }];
const apis: readonly Api[] = [
  {
    id: 'chat',
    name: 'Chat Completions',
    path: () => '/v1/chat/completions',
    rest: { messages },
    opening: '"role"',
  },
  {
    id: 'responses',
    name: 'Responses',
    path: () => '/v1/responses',
    rest: { input: 'Hi' },
    opening: 'response.created',
  },
  {
    id: 'completions',
    name: 'Completions',
    path: () => '/v1/completions',
    rest: { prompt: 'Hi' },
    opening: undefined,
  },
  {
    id: 'messages',
    name: 'Messages',
    path: () => '/v1/messages',
    rest: { messages, max_tokens: 9 },
    opening: 'message_start',
  },
  {
    id: 'gemini',
    name: 'Gemini',
    path: (model) => `/v1beta/models/${model}:streamGenerateContent?alt=sse`,
    rest: {},
    opening: undefined,
  },
];

function post(
  { path, rest }: Api,
  model: string,
  { headers, signal }: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> {
  return fetch(url + path(model), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model, stream: true, ...rest }),
    ...(signal && { signal }),
  });
}

async function ask(api: Api, name: string): Promise<string> {
  const response = await post(api, `${name}-${api.id}`);
  return `${response.status} ${await response.text()}`;
}

describe.each(apis)('the first token of $name', (api) => {
  test('is late though what begins the answer came at once, and the next target is asked', async () => {
    const text = await ask(api, 'late');
    expect(text).toMatch(/^200 /);
    expect(text).toContain('"spare:');
    expect(text).not.toContain('"first-');
  });

  test('is late where there is no other target, and the client hears so', async () => {
    expect(await ask(api, 'late-alone')).toMatch(/^504 .*no first token within 300 ms \(firstTokenMs\)/);
  });

  test('is not an error behind what begins the answer, and the next target is asked', async () => {
    const text = await ask(api, 'failing');
    expect(text).toContain('"spare:');
    expect(text).not.toContain('"first-');
    expect(await ask(api, 'failing-alone')).toMatch(/^200 .*The simulated model failed/s);
  });

  test('is not needed: an answer without any is an answer', async () => {
    const text = await ask(api, 'empty');
    expect(text).toContain('"first-');
    expect(text).not.toContain('"spare:');
  });

  test('is handed on with all that came before it', async () => {
    const text = await ask(api, 'good');
    expect(text).toContain('"first-');
    expect(text).toContain(api.opening ?? '"first-');
    expect(text).not.toContain('"spare:');
  });

  test('is what the time to it is measured by, and nothing is kept back for that', async () => {
    const model = 'measured/m:early,ttft=700,tokens=1,tps=0';
    const leave = new AbortController();
    const response = await post(api, model);
    expect(response.status).toBe(200);
    await response.text();
    const refused = await post(api, model, { headers: { 'spillway-budget-ms': '500' } });
    expect(refused.status).toBe(504);
    expect(await refused.text()).toMatch(/its first token is expected in (?:[7-9]\d\d|\d{4}) ms/);
    if (api.opening === undefined) return;
    const begun = await post(api, 'measured/n:early,ttft=60000', { signal: leave.signal });
    const { value } = (await begun.body?.getReader().read()) ?? {};
    expect(Buffer.from(value ?? []).toString()).toContain(api.opening);
    leave.abort();
  });
});

const events = { 'content-type': 'text/event-stream' } as const;
const role = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] })}\n\n`;

function writesEvery(ms: number, times: number, text: string, then: Script): Script {
  return (response, request) => {
    response.writeHead(200, events);
    let written = 0;
    const timer = setInterval(() => {
      if (written < times) response.write(text);
      else {
        clearInterval(timer);
        then(response, request);
      }
      written += 1;
    }, ms);
    response.on('close', () => clearInterval(timer));
  };
}

async function askChain(script: Script): Promise<string> {
  scripted.scripts.set('a', script);
  return await (await postChat(url, 'chain')).text();
}

describe('what comes before a first token', () => {
  test('is kept back to 64 KiB, and then handed on', async () => {
    const large = role.replace('"content":""', `"content":"","reasoning":null,"id":${'1'.repeat(20_000)}`);
    const text = await askChain(
      writesEvery(1, 4, large, (response) => void response.end('data: {"error":{"message":"no"}}\n\n')),
    );
    expect(text).toContain('"role"');
    expect(text).toContain('{"message":"no"}');
    expect(text).not.toContain('spare');
  });

  test('keeps a stream alive while it is kept back', async () => {
    const text = await askChain(writesEvery(200, (2 * idleTimeoutMs) / 200, role, answers('scripted')));
    expect(text).toContain('scripted');
    expect(text).not.toContain('spare');
  }, 20_000);
});

let names = 0;

/** The requests until the provider is not asked any more, of six. */
async function requestsUntilOpen(
  script: Script,
  stream = true,
  path = '/v1/chat/completions',
): Promise<number> {
  names += 1;
  const model = `m${names}`;
  scripted.scripts.set(model, script);
  const body = JSON.stringify({ model: `scripted/${model}`, stream, messages, input: 'Hi' });
  const headers = { 'content-type': 'application/json' };
  for (let asked = 0; asked < 6; asked += 1)
    await (await fetch(url + path, { method: 'POST', headers, body })).text();
  return scripted.requestsFor(model).length;
}

function reports(error: unknown, before = ''): Script {
  return (response) => {
    response.writeHead(200, events);
    response.end(`${before}data: ${JSON.stringify(error)}\n\n`);
  };
}

function says(body: unknown): Script {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
}

describe('an error that is reported with a status of success', () => {
  const faults: readonly unknown[] = [
    { type: 'error', error: { type: 'overloaded_error', message: 'm' } },
    { type: 'error', error: { type: 'api_error', message: 'm' } },
    { error: { code: 503, message: 'm', status: 'UNAVAILABLE' } },
    { error: { message: 'm', type: 'server_error', code: null } },
    { object: 'error', message: 'm', type: 'InternalServerError', code: 500 },
    { error: { message: 'm', code: '502' } },
  ];
  test.each(faults)('opens the breaker, if it is the provider’s: %j', async (error) => {
    expect(await requestsUntilOpen(reports(error, role))).toBe(5);
  });

  test('opens the breaker as the end of a response', async () => {
    const failed = (code: string): Script =>
      reports({ type: 'response.failed', response: { status: 'failed', error: { code, message: 'm' } } });
    expect(await requestsUntilOpen(failed('server_error'), true, '/v1/responses')).toBe(5);
    expect(await requestsUntilOpen(failed('invalid_prompt'), true, '/v1/responses')).toBe(6);
  });

  const others: readonly unknown[] = [
    { type: 'error', error: { type: 'invalid_request_error', message: 'm' } },
    { type: 'error', error: { type: 'rate_limit_error', message: 'm' } },
    { error: { code: 400, message: 'm', status: 'INVALID_ARGUMENT' } },
    { error: { code: 429, message: 'm', status: 'RESOURCE_EXHAUSTED' } },
    { error: { message: 'm', type: 'invalid_request_error', code: 'invalid_prompt' } },
    { error: 'the server is overloaded' },
  ];
  test.each(others)('does not, if it is the client’s, or nobody knows: %j', async (error) => {
    expect(await requestsUntilOpen(reports(error, role))).toBe(6);
  });

  test('opens the breaker as a whole body, too', async () => {
    expect(await requestsUntilOpen(says({ error: { message: 'm', type: 'server_error' } }), false)).toBe(5);
    expect(await requestsUntilOpen(says({ error: { message: 'm', type: 'server_error' } }), true)).toBe(5);
    const invalid = { error: { message: 'm', type: 'invalid_request_error' } };
    expect(await requestsUntilOpen(says(invalid), false)).toBe(6);
    expect(await requestsUntilOpen(says({ choices: [], error: null }), false)).toBe(6);
  });

  test.each([true, false])('as a whole body makes room for the next target; stream: %s', async (stream) => {
    scripted.scripts.set('c', says({ error: { message: 'no capacity' } }));
    const response = await postChat(url, 'json', { stream });
    expect(await response.text()).toContain('spare');
    scripted.scripts.delete('c');
    expect(await (await postChat(url, 'json', { stream })).text()).toContain('scripted');
  });
});
