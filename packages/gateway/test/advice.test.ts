import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Advice, adviceFor } from '../src/config/advice.ts';
import { loadSettings } from '../src/config/load.ts';
import { run, startGateway } from './support/processes.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const provider = 'url=https://a.example/v1';

function advice(
  env: Record<string, string>,
  flags: Record<string, string> = {},
  unread: string[] = [],
): Advice[] {
  return adviceFor(loadSettings({ flags, env, file: undefined }), env, unread);
}

/** The advice without that about simulated models, which all settings without a provider have. */
function other(...sources: Parameters<typeof advice>): Advice[] {
  return advice(...sources).filter(({ code }) => code !== 'simulated_models');
}

describe('what may not be meant', () => {
  test('nothing, where all is set as it is read', () => {
    const env = {
      SPILLWAY_WINDOW_BYTES: '64k',
      SPILLWAY_API_KEYS: 'a',
      SPILLWAY_ADMIN_KEYS: 'b',
      SPILLWAY_PROVIDER_KEY: 'c',
      SPILLWAY_UPSTREAM: `${provider},apiKeyEnv=SPILLWAY_PROVIDER_KEY`,
      PATH: '/bin',
    };
    expect(advice(env)).toEqual([]);
    expect(advice({ OPENAI_API_KEY: 'a' })).toEqual([]);
  });

  test('simulated models', () => {
    expect(advice({})).toMatchObject([
      { code: 'simulated_models', message: expect.stringMatching(/no provider is configured/) as string },
    ]);
    expect(advice({}, { simulated: 'true' })).toMatchObject([
      { message: expect.stringMatching(/simulated is true/) as string },
    ]);
  });

  test('variables that are no settings, with the setting that is like them', () => {
    const env = {
      SPILLWAY_WINDOW_BYTE: '5',
      SPILLWAY_STALL_TIMOUT_MS: '1',
      SPILLWAY_QUITE_ANOTHER: 'hunter2',
    };
    expect(other(env)).toEqual([
      {
        code: 'variable_unknown',
        message:
          'No settings are: SPILLWAY_WINDOW_BYTE (did you mean SPILLWAY_WINDOW_BYTES?), ' +
          'SPILLWAY_STALL_TIMOUT_MS (did you mean SPILLWAY_STALL_TIMEOUT_MS?), SPILLWAY_QUITE_ANOTHER.',
        variables: Object.keys(env),
      },
    ]);
  });

  test('taps that keep what was said in plain text, and audit logs that lose', () => {
    const of = (tap: string): string[] => other({}, { tap }).map(({ code }) => code);
    expect(of('to=file:a')).toEqual(['tap_content']);
    expect(of('to=stdout:,content=text')).toEqual(['tap_content']);
    expect(of('to=file:a,content=usage,request=true')).toEqual(['tap_content']);
    expect(of('to=file:a,content=usage')).toEqual([]);
    expect(of('to=file:a,redact=email')).toEqual([]);
    expect(of('sqlite:a')).toEqual(['tap_may_lose']);
    for (const key of ['gate=true', 'lossless=true', 'overflow=drop-oldest', 'spill=b', 'content=usage'])
      expect(of(`to=sqlite:a,${key}`), key).toEqual([]);
    expect(other({}, { tap: 'name=mine,to=file:a,request=true' })).toMatchObject([
      { message: expect.stringMatching(/^The tap mine keeps prompts and answers in plain text: /) as string },
    ]);
  });

  test('the usual variable of keys, where another is named for them', () => {
    const env = { SPILLWAY_API_KEYS: 'a', SPILLWAY_KEYS: 'b', SPILLWAY_API_KEYS_ENV: 'SPILLWAY_KEYS' };
    expect(other(env)).toMatchObject([{ code: 'variable_unknown', variables: ['SPILLWAY_API_KEYS'] }]);
  });

  /** What Kubernetes sets for services with the names `spillway` and `spillway-admin`. */
  const links = {
    SPILLWAY_SERVICE_HOST: '10.0.0.1',
    SPILLWAY_SERVICE_PORT: '8080',
    SPILLWAY_SERVICE_PORT_HTTP: '8080',
    SPILLWAY_PORT: 'tcp://10.0.0.1:8080',
    SPILLWAY_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
    SPILLWAY_PORT_8080_TCP_PROTO: 'tcp',
    SPILLWAY_PORT_8080_TCP_PORT: '8080',
    SPILLWAY_PORT_8080_TCP_ADDR: '10.0.0.1',
    SPILLWAY_ADMIN_SERVICE_HOST: '10.0.0.2',
    SPILLWAY_ADMIN_PORT: 'tcp://10.0.0.2:8081',
    SPILLWAY_ADMIN_PORT_8081_TCP: 'tcp://10.0.0.2:8081',
  };

  test('the variables of a service in Kubernetes that have the names of settings', () => {
    expect(other(links)).toMatchObject([
      { code: 'variable_kubernetes', variables: ['SPILLWAY_PORT', 'SPILLWAY_ADMIN_PORT'] },
    ]);
    const { config } = loadSettings({ flags: {}, env: links, file: { path: 'a', text: 'port: 9000' } });
    expect(config).toMatchObject({ port: 9000, adminPort: 8081 });
  });

  test('variables of keys that are empty', () => {
    const env = { OPENAI_API_KEY: '', GEMINI_API_KEY: 'a', SPILLWAY_API_KEYS: '' };
    expect(other(env)).toMatchObject([
      { code: 'variable_empty', variables: ['OPENAI_API_KEY', 'SPILLWAY_API_KEYS'] },
    ]);
    expect(other({ OPENAI_API_KEY: '' }, { upstream: provider })).toEqual([]);
  });

  test('keys that another setting makes useless', () => {
    const env = { OPENAI_API_KEY: 'a', ANTHROPIC_API_KEY: 'b' };
    const upstream = `${provider},apiKeyEnv=ANTHROPIC_API_KEY`;
    expect(other(env, { upstream })).toMatchObject([
      { code: 'variable_unused', variables: ['OPENAI_API_KEY'] },
    ]);
    expect(other(env, { simulated: 'true' })).toMatchObject([{ variables: Object.keys(env) }]);
  });

  test.each([
    'OPENAI_BASE_URL',
    'OPENAI_API_BASE',
    'ANTHROPIC_BASE_URL',
    'GOOGLE_GEMINI_BASE_URL',
    'AZURE_OPENAI_ENDPOINT',
    'OLLAMA_HOST',
  ])('%s, which SDKs obey, unless it leads to what is configured or to the gateway itself', (variable) => {
    const unused = [{ code: 'variable_unused', variables: [variable] }];
    expect(other({ [variable]: 'https://b.example/v1' })).toMatchObject(unused);
    expect(other({ [variable]: 'https://b.example/v1' }, { upstream: provider })).toMatchObject(unused);
    expect(other({ [variable]: 'https://a.example/v1/' }, { upstream: provider })).toEqual([]);
    expect(other({ [variable]: 'http://127.0.0.1:8080/v1' })).toEqual([]);
    expect(other({ [variable]: 'localhost:8080' })).toEqual([]);
    expect(other({ [variable]: '' })).toEqual([]);
  });

  test.each(['ANTHROPIC_AUTH_TOKEN', 'GOOGLE_API_KEY', 'AZURE_OPENAI_API_KEY'])(
    '%s, unless it is named',
    (variable) => {
      expect(other({ [variable]: 'hunter2' })).toMatchObject([
        { code: 'variable_unused', variables: [variable] },
      ]);
      expect(other({ [variable]: 'hunter2' }, { upstream: `${provider},apiKeyEnv=${variable}` })).toEqual([]);
    },
  );

  test.each([
    ['https://a.example', /has no path/],
    ['https://a.example/v1/chat/completions', /\/chat\/completions at its end/],
    ['https://a.example/v1/responses/', /\/responses at its end/],
    ['api=anthropic,url=https://a.example/v1/messages', /\/messages at its end/],
    [
      'api=gemini,url=https://a.example/v1beta/models/x:streamGenerateContent',
      /:streamGenerateContent at its end/,
    ],
    ['api=ollama,url=http://a.example/api/chat', /\/api\/chat at its end/],
    ['https://a.example/v1', undefined],
    ['https://a.example/openai/deployments/d?api-version=1', undefined],
    ['https://a.example/v1beta/openai', undefined],
    ['api=anthropic,url=https://a.example', undefined],
    ['api=gemini,url=https://a.example/v1beta', undefined],
    ['api=ollama,url=http://a.example:11434', undefined],
  ])('the base URL %s', (text, message) => {
    const upstream = text.startsWith('api=') ? text : `url=${text}`;
    const expected =
      message === undefined ? [] : [{ code: 'base_url_unusual', providers: ['upstream'], message }];
    expect(other({}, { upstream })).toEqual(
      expected.map((each) => ({ ...each, message: expect.stringMatching(each.message) as string })),
    );
  });

  test('files that look like a configuration', () => {
    expect(other({}, {}, ['spillway.yml'])).toMatchObject([
      { code: 'file_unread', message: expect.stringMatching(/^spillway\.yml is not/) as string },
    ]);
  });
});

test('each code is on the page about configuration, once', () => {
  const source = readFileSync(join(root, 'packages/gateway/src/config/advice.ts'), 'utf8');
  const [, type = ''] = /^type AdviceCode =(.*?);/ms.exec(source) ?? [];
  const codes = [...type.matchAll(/'(\w+)'/g)].map(([, code]) => code);
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  expect([...page.matchAll(/^\| `(\w+_\w+)` \|/gm)].map(([, code]) => code)).toEqual(codes);
});

describe('a gateway that starts', () => {
  /** The log lines with a code of advice. */
  const told = (stderr: string): object[] =>
    stderr
      .split('\n')
      .filter((line) => line.includes('"code":'))
      .map((line) => JSON.parse(line) as object);

  test('says it in the log and on the terminal, and prints no value', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'spillway.yml'), 'port: hunter2\n');
    const env = { SPILLWAY_STALL_TIMOUT_MS: 'hunter2', OPENAI_BASE_URL: 'http://hunter2.example/v1' };
    const gateway = await startGateway([], { env, cwd: folder });
    expect(told(gateway.stderr())).toMatchObject([
      { level: 40, code: 'simulated_models' },
      { level: 40, code: 'variable_unknown', variables: ['SPILLWAY_STALL_TIMOUT_MS'] },
      { level: 40, code: 'variable_unused', variables: ['OPENAI_BASE_URL'] },
      { level: 40, code: 'file_unread' },
    ]);
    expect(gateway.stdout()).toMatch(
      /^Note\n {2}No settings are: SPILLWAY_STALL_TIMOUT_MS .*\n {2}OPENAI_BASE_URL .*\n {2}spillway\.yml .*\n$/m,
    );
    expect(gateway.stderr() + gateway.stdout()).not.toContain('hunter2');
  });

  test('says nothing where there is nothing', async () => {
    const gateway = await startGateway(['--upstream', 'http://127.0.0.1:9/v1']);
    expect(told(gateway.stderr())).toEqual([]);
    expect(gateway.stdout()).not.toContain('Note');
  });

  test('starts beside a service of its name', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_ADMIN_PORT: 'tcp://10.0.0.1:8080' } });
    expect(told(gateway.stderr())).toMatchObject([
      { code: 'simulated_models' },
      { code: 'variable_kubernetes' },
    ]);
  });

  test('a file that was asked for and is not there is said with the one that is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'spillway.yml'), '');
    const command = run(['serve', '--config', 'spillway.yaml'], { cwd: folder });
    expect(await command.exited).toBe(78);
    expect(command.stderr()).toBe(
      'spillway: --config: expected a file that can be read, got no file at spillway.yaml; there is spillway.yml in the working directory\n',
    );
  });
});

describe('simulated models', () => {
  test('are refused beyond loopback, unless they are asked for', async () => {
    const env = { SPILLWAY_API_KEYS: 'alpha' };
    const refused = run(['serve', '--host', '0.0.0.0', '--port', '0', '--admin-port', '0'], { env });
    expect(await refused.exited).toBe(78);
    expect(refused.stderr()).toContain('host (--host): expected a provider');
    await startGateway(['--host', '0.0.0.0', '--simulated'], { env });
    await startGateway(['--host', '0.0.0.0'], { env: { ...env, SPILLWAY_SIMULATED: 'true' } });
  });

  test('answer instead of a provider whose key is there, and beside none that is configured', () => {
    const load = (flags: Record<string, unknown>): unknown =>
      loadSettings({ flags, env: { OPENAI_API_KEY: 'a' }, file: undefined }).providers;
    expect(load({ simulated: true })).toEqual([]);
    expect(() => load({ simulated: true, upstream: provider })).toThrow(
      'simulated (--simulated): expected no upstream (--upstream) beside it, got 1',
    );
  });

  test('say in every answer that they are simulated', async () => {
    const gateway = await startGateway();
    const ask = async (path: string, body?: object): Promise<string | null> => {
      const init = body && {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      };
      const response = await fetch(`${gateway.url}${path}`, init);
      await response.text();
      return response.headers.get('x-spillway-simulated');
    };
    const model = 'sim:tokens=2,tps=0,ttft=0';
    const messages = [{ role: 'user', content: 'Hello' }];
    expect(await ask('/v1/chat/completions', { model, messages, stream: true })).toBe('true');
    expect(await ask('/v1/chat/completions', { model, messages })).toBe('true');
    expect(await ask('/v1/messages', { model, messages, max_tokens: 9, stream: true })).toBe('true');
    expect(await ask(`/v1beta/models/${model}:streamGenerateContent?alt=sse`, { contents: [] })).toBe('true');
    expect(await ask('/v1/chat/completions', { model: 'sim:status=429', messages })).toBe('true');
    expect(await ask('/v1/embeddings', { model, input: 'a' })).toBe('true');
    expect(await ask('/health/live')).toBeNull();
  });
});
