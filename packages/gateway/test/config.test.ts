import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { keysFile } from './support/keys-file.ts';
import { ConfigError } from '../src/config/config-error.ts';
import { adviceFor } from '../src/config/advice.ts';
import { loadSettings, type Settings } from '../src/config/load.ts';
import { isExempt } from '../src/config/no-proxy.ts';
import { configOptions } from '../src/config/schema.ts';
import { run, startGateway } from './support/processes.ts';

function load(
  sources: { flags?: Record<string, unknown>; env?: Record<string, string>; yaml?: string } = {},
): Settings {
  const { flags = {}, env = {}, yaml } = sources;
  return loadSettings({
    flags,
    env,
    file: yaml === undefined ? undefined : { path: 'spillway.yaml', text: yaml },
  });
}

test('the example of providers is valid, and its models are marked as examples', () => {
  const yaml = readFileSync(join(import.meta.dirname, '../../../examples/providers.yaml'), 'utf8');
  const { models } = load({ yaml, env: { OPENAI_API_KEY: 'a', GROQ_API_KEY: 'b', OWN_KEY: 'c' } });
  const shares = models.map(({ name, targets }) => [name, ...targets.map(({ weight }) => weight)]);
  expect(shares).toEqual([
    ['fast', 3, 1],
    ['large', 1, 0, 0],
  ]);
  expect(yaml).toContain('EXAMPLES');
});

describe('flags, environment and file', () => {
  test.each(configOptions.filter(({ defaultValue }) => typeof defaultValue === 'number'))(
    '$key is the same in all three',
    ({ key, variable, defaultValue }) => {
      const value = (defaultValue as number) + 2;
      expect(load({ flags: { [key]: String(value) } }).config[key]).toBe(value);
      expect(load({ env: { [variable]: String(value) } }).config[key]).toBe(value);
      expect(load({ yaml: `${key}: ${value}` }).config[key]).toBe(value);
    },
  );

  test('the flag wins over the environment, and that over the file', () => {
    const yaml = 'port: 1';
    const env = { SPILLWAY_PORT: '2' };
    expect(load({ yaml }).config.port).toBe(1);
    expect(load({ yaml, env }).config.port).toBe(2);
    expect(load({ yaml, env, flags: { port: '3' } }).config.port).toBe(3);
  });

  test('a provider can be said in every way', () => {
    const env = { GROQ_API_KEY: 'secret' };
    const groq = { name: 'groq', api: 'openai', url: 'https://api.groq.com/openai/v1', apiKey: 'secret' };
    const local = { name: 'upstream', api: 'openai', url: 'http://127.0.0.1:11434/v1', apiKey: undefined };
    const text =
      'name=groq,url=https://api.groq.com/openai/v1/,apiKeyEnv=GROQ_API_KEY http://127.0.0.1:11434/v1';
    expect(load({ env, flags: { upstream: text } }).providers).toEqual([groq, local]);
    // A model may have a colon in its name: it is no URL.
    const model = 'name=fast,targets=groq/m 2*groq/llama3:8b name=other,targets=groq/m';
    expect(load({ env, flags: { upstream: text, model } }).config.model).toMatchObject([
      { name: 'fast', targets: ['groq/m', '2*groq/llama3:8b'] },
      { name: 'other' },
    ]);
    expect(load({ env: { ...env, SPILLWAY_UPSTREAM: text } }).providers).toEqual([groq, local]);
    const yaml = `
      upstream:
        - name: groq
          url: https://api.groq.com/openai/v1
          apiKeyEnv: GROQ_API_KEY
        - http://127.0.0.1:11434/v1`;
    expect(load({ env, yaml }).providers).toEqual([groq, local]);
  });

  test.each([
    ['name=gpt-*,targets=a/b', 'expected one name of a model, without *'],
    ['name=fast,targets=a/b,fallback=3*a/c', 'expected no weight: they are asked in turn'],
  ])('a name of a model that cannot mean what it says is refused: %s', (model, message) => {
    expect(() => load({ flags: { upstream: 'name=a,url=http://a/v1', model } })).toThrow(message);
  });

  test.each([
    ['level=1,model=fast', undefined],
    ['level=1,model=gpt', undefined],
    ['level=1,models=a/*,model=a/gpt', undefined],
    ['level=1,model=b/c/d', undefined],
    ['level=2,model=bb/gpt', 'did you mean b/gpt?'],
    ['level=2,model=gemini/flash', 'OpenAI\'s or Anthropic\'s API (b, a), got "gemini/flash"'],
    ['level=1,model=a/gpt', 'the key that a client sends to another provider would go to it'],
    ['level=1,models=a/*+x,model=a/gpt', 'the key that a client sends to another provider would go to it'],
  ])(
    'a model that answers under pressure has to be one, and may get no other provider’s key: %s',
    (rule, message) => {
      const upstream =
        'name=b,url=http://b/v1,apiKeyEnv=KEY name=a,url=http://a/v1 name=gemini,api=gemini,url=http://g,apiKeyEnv=KEY';
      const flags = { upstream, model: 'name=fast,targets=b/m', pressure: rule };
      const loading = (): Settings => load({ flags, env: { KEY: 'k' } });
      if (message === undefined) expect(loading().config.pressure).toHaveLength(1);
      else expect(loading).toThrow(message);
    },
  );

  test('a provider may have a queue', () => {
    const sources = [
      { flags: { upstream: 'url=http://a/v1,queueTimeoutMs=1800000' } },
      { yaml: 'upstream: [{ url: http://a/v1, queueTimeoutMs: 1800000 }]' },
    ];
    for (const source of sources) expect(load(source).providers[0]?.queueTimeoutMs).toBe(1_800_000);
  });

  test('a key alone puts its provider behind the gateway', () => {
    const env = { GEMINI_API_KEY: 'g', ANTHROPIC_API_KEY: 'a', OPENAI_API_KEY: 'o' };
    const openai = { name: 'openai', api: 'openai', url: 'https://api.openai.com/v1', apiKey: 'o' };
    expect(load({ env: { OPENAI_API_KEY: 'o' } }).providers).toEqual([openai]);
    expect(load({ env }).providers).toEqual([
      openai,
      { name: 'anthropic', api: 'anthropic', url: 'https://api.anthropic.com', apiKey: 'a' },
      {
        name: 'gemini',
        api: 'gemini',
        url: 'https://generativelanguage.googleapis.com',
        apiKey: 'g',
      },
    ]);
    expect(load().providers).toEqual([]);
  });

  test.each([
    ['openai', 'http://a/openai/v1/', 'http://a/openai/v1'],
    ['anthropic', 'http://a', 'http://a'],
    ['anthropic', 'http://a/v1/', 'http://a'],
    ['gemini', 'http://a/', 'http://a'],
    ['gemini', 'http://a/v1beta', 'http://a'],
    ['azure', 'http://a/openai/', 'http://a'],
    ['azure', 'http://a', 'http://a'],
    ['ollama', 'http://a/api', 'http://a'],
  ])('the base URL is as an SDK of %s wants it: %s', (api, url, expected) => {
    const { providers } = load({ flags: { upstream: `api=${api},url=${url}` } });
    expect(providers).toEqual([{ name: 'upstream', api, url: expected, apiKey: undefined }]);
  });

  test('a URL may have a query, and its key another header', () => {
    const env = { AZURE_KEY: 'secret' };
    const url = 'https://a.example/openai/deployments/d?api-version=1';
    const provider = { api: 'openai', url: 'https://a.example/openai/deployments/d', query: 'api-version=1' };
    const named = { name: 'gpt', apiKey: 'secret', keyHeader: 'api-key', ...provider };
    const text = `name=gpt,url=${url},apiKeyEnv=AZURE_KEY,keyHeader=Api-Key`;
    expect(load({ env, flags: { upstream: `${text} ${url}` } }).providers).toEqual([
      named,
      { name: 'upstream', apiKey: undefined, ...provider },
    ]);
  });

  test('providers of different APIs may have one name', () => {
    const text = 'name=a,url=http://a/v1 name=a,api=anthropic,url=http://a';
    expect(load({ flags: { upstream: text } }).providers.map(({ api }) => api)).toEqual([
      'openai',
      'anthropic',
    ]);
  });
});

describe('a wrong configuration names the key, what was expected and what came', () => {
  test.each([
    [{ flags: { port: 'abc' } }, 'port (--port): expected a whole number from 0 to 65535, got "abc"'],
    [
      { env: { SPILLWAY_PORT: '70000' } },
      'port (SPILLWAY_PORT): expected a whole number from 0 to 65535, got "70000"',
    ],
    [
      { yaml: 'windowBytes: 1.5' },
      'windowBytes (spillway.yaml:1): expected a size from 1KiB to 1GiB (65536, 64k, 64KiB or 16MiB), got 1.5',
    ],
    [{ yaml: 'logLevel: loud' }, 'logLevel (spillway.yaml:1): expected one of'],
    [{ yaml: 'windowByte: 5' }, 'windowByte: unknown setting (spillway.yaml:1); did you mean windowBytes?'],
    [
      { yaml: 'upstream: [{ uri: http://a/v1 }]' },
      'upstream.0.url (spillway.yaml:1): expected an http:// or https:// URL, got nothing',
    ],
    [
      { yaml: 'upstream: [{ uri: http://a/v1, url: http://a/v1 }]' },
      'upstream.0.uri: unknown setting (spillway.yaml:1)',
    ],
    [
      { yaml: 'upstream: [{ url: http://a/v1, apiKey: secret }]' },
      'upstream.0.apiKey: unknown setting (spillway.yaml:1); name an environment variable in apiKeyEnv or a file in apiKeyFile',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,api_key=secret' } },
      'upstream.0.api_key: unknown setting (--upstream); name an environment variable in apiKeyEnv or a file in apiKeyFile',
    ],
    [
      { yaml: 'apiKeys: [secret]' },
      'apiKeys: unknown setting (spillway.yaml:1); name an environment variable in apiKeysEnv or a file in apiKeysFile',
    ],
    [
      { yaml: 'admin-keys: [secret]' },
      'admin-keys: unknown setting (spillway.yaml:1); name an environment variable in adminKeysEnv or a file in adminKeysFile',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,keyHeader=api-key' } },
      'upstream.0.keyHeader (--upstream): expected apiKeyEnv or apiKeyFile beside it, whose key it carries, got none',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,apiKeyEnv=K,keyHeader=a:b' } },
      'upstream.0.keyHeader (--upstream): expected a header\'s name, got "a:b"',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,apiKeyEnv=K,keyHeader=Content-Length' } },
      'upstream.0.keyHeader (--upstream): expected a header that is no part of the HTTP itself, got "content-length"',
    ],
    [
      { flags: { upstream: 'ftp://a' } },
      'upstream.0.url (--upstream): expected an http:// or https:// URL, got "ftp://a"',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,queueTimeoutMs=5d' } },
      'upstream.0.queueTimeoutMs (--upstream): expected a duration from 1ms to 24h (250ms, 30s, 5m, 1h or a number of milliseconds), got "5d"',
    ],
    [
      { yaml: 'upstream: [{ url: http://a/v1, queueTimeoutMs: 86400001 }]' },
      'upstream.0.queueTimeoutMs (spillway.yaml:1): expected a duration from 1ms to 24h (250ms, 30s, 5m, 1h or a number of milliseconds), got 86400001',
    ],
    [
      { flags: { upstream: 'http://a/v1 http://b/v1' } },
      'upstream (--upstream): expected a different name for each of the same api, got one twice',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,api=cohere' } },
      'upstream.0.api (--upstream): expected one of "openai"|"anthropic"|"gemini"|"azure"|"ollama", got "cohere"',
    ],
    [
      { flags: { upstream: 'url=http://a/v1,apiKeyEnv=NOPE' } },
      'upstream upstream: expected the key in the environment variable NOPE (apiKeyEnv), got nothing',
    ],
    [{ yaml: 'host: 0.0.0.0' }, 'host (spillway.yaml): expected a loopback address'],
    [{ yaml: '- 1' }, 'spillway.yaml: expected settings as key: value, got something else'],
    [{ yaml: 'a: [' }, 'spillway.yaml: expected YAML, got '],
  ])('%j', (sources, message) => {
    expect(() => load(sources)).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining(message) }),
    );
  });

  test('and never prints a key that stands there', () => {
    for (const upstream of ['url=http://a/v1,apiKey=hunter2', 'url=http://a/v1,key=hunter2']) {
      expect(() => load({ flags: { upstream } })).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
      );
    }
  });

  test('and never prints a key that stands there with the rest of a provider', () => {
    const provider = '{ url: http://a/v1, apiKey: hunter2, proxy: "http://a:hunter2@p" }';
    for (const yaml of [
      `upstream: ${provider}`,
      `upstream: [[${provider}]]`,
      `host: ${provider}`,
      `port: [${provider}]`,
    ]) {
      expect(() => load({ yaml }), yaml).toThrow(ConfigError);
      expect(() => load({ yaml }), yaml).not.toThrow(/hunter2/);
    }
  });

  test('and never prints the password of a URL', () => {
    expect(() => load({ flags: { upstream: 'http://user:hunter2@a/v1' } })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
    );
  });
});

describe('a file of keys', () => {
  test('opens the gateway beyond loopback', () => {
    const path = keysFile(`a sha256:${'0'.repeat(64)}`);
    for (const source of [{ flags: { apiKeysFile: path } }, { yaml: `apiKeysFile: ${path}` }]) {
      expect(
        load({ ...source, env: { SPILLWAY_HOST: '0.0.0.0', OPENAI_API_KEY: 'a' } }).apiKeys,
      ).toHaveLength(1);
    }
  });

  test.each([
    ['without a key, because it would let everybody in', () => keysFile('# nobody'), 'got none'],
    [
      'that is a key, and no path',
      () => 'sk-abc',
      'apiKeysFile (--api-keys-file): expected a file that can be read, got ENOENT',
    ],
  ])('%s', (_what, makePath, message) => {
    expect(() => load({ flags: { apiKeysFile: makePath() } })).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringContaining(message) as string,
      }),
    );
    expect(() => load({ flags: { apiKeysFile: makePath() } })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('sk-abc') as string }),
    );
  });
});

describe('the command', () => {
  test('stops with the message', async () => {
    const wrong = run(['serve', '--window-bytes', 'many']);
    expect(await wrong.exited).toBe(78);
    expect(wrong.stderr()).toBe(
      'spillway: windowBytes (--window-bytes): expected a size from 1KiB to 1GiB (65536, 64k, 64KiB or 16MiB), got "many"\n',
    );
  });

  test('says who has the port', async () => {
    const gateway = await startGateway();
    const { port } = new URL(gateway.url);
    const second = run(['serve', '--port', port, '--admin-port', '0']);
    expect(await second.exited).toBe(75);
    expect(second.stderr()).toBe(
      `spillway: 127.0.0.1:${port} is in use: choose another with --port (0 takes a free one)\n`,
    );
    const operators = run(['serve', '--port', '0', '--admin-port', port]);
    expect(await operators.exited).toBe(75);
    expect(operators.stderr()).toBe(
      `spillway: 127.0.0.1:${port} is in use: choose another with --admin-port (0 takes a free one)\n`,
    );
    const simulator = run(['simulate', '--port', port]);
    expect(await simulator.exited).toBe(75);
    expect(simulator.stderr()).toBe(
      `spillway: 127.0.0.1:${port} is in use: choose another with --port (0 takes a free one)\n`,
    );
  });

  test('reads spillway.yaml where it stands', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'spillway.yaml'), 'upstream: http://127.0.0.1:9/v1\n');
    const gateway = await startGateway([], { cwd: folder });
    expect(gateway.stdout()).toContain('http://127.0.0.1:9/v1');
  });

  test('a file that was asked for has to exist', async () => {
    const missing = run(['serve', '--config', '/nonexistent.yaml']);
    expect(await missing.exited).toBe(78);
    expect(missing.stderr()).toContain('/nonexistent.yaml');
  });
});

describe('a transport of a provider', () => {
  const transportOf = (upstream: object, env: Record<string, string> = {}): unknown =>
    load({ env, yaml: `upstream: [${JSON.stringify({ url: 'https://a.example/v1', ...upstream })}]` })
      .providers[0]?.transport;

  test('is there if anything asks for it, in a file and as text', () => {
    expect(transportOf({})).toBeUndefined();
    expect(transportOf({ http2: false })).toBeUndefined();
    const http2 = { id: 'openai upstream', http2: true, proxy: undefined, secureContext: undefined };
    expect(transportOf({ http2: true })).toEqual(http2);
    const text = 'url=https://a.example/v1,http2=true';
    expect(load({ env: { SPILLWAY_UPSTREAM: text } }).providers[0]?.transport).toEqual(http2);
    expect(load({ flags: { upstream: text } }).providers[0]?.transport).toEqual(http2);
    expect(transportOf({ proxy: 'http://proxy:3128', proxyAuthEnv: 'AUTH' }, { AUTH: 'a:b' })).toMatchObject({
      http2: false,
      proxy: {
        url: new URL('http://proxy:3128'),
        authorization: `Basic ${Buffer.from('a:b').toString('base64')}`,
      },
    });
  });

  test('obeys a proxy of the environment, which is said where it does not', () => {
    const proxyOf = (env: Record<string, string>, url = 'https://a.example/v1'): unknown =>
      (transportOf({ proxy: 'env', url }, env) as { proxy?: { url: URL; authorization?: string } }).proxy;
    const url = new URL('http://p:1');
    expect(proxyOf({})).toBeUndefined();
    expect(proxyOf({ HTTP_PROXY: 'http://p:1' })).toBeUndefined();
    expect(proxyOf({ HTTPS_PROXY: 'http://p:1' })).toEqual({ url, authorization: undefined });
    expect(proxyOf({ HTTPS_PROXY: 'p:1' })).toMatchObject({ url });
    expect(proxyOf({ HTTPS_PROXY: 'http://other:1', https_proxy: 'http://p:1' })).toMatchObject({ url });
    expect(proxyOf({ HTTP_PROXY: 'http://p:1' }, 'http://a.example/v1')).toMatchObject({ url });
    expect(proxyOf({ HTTPS_PROXY: 'http://a:b%40@p:1' })).toEqual({
      url,
      authorization: `Basic ${Buffer.from('a:b@').toString('base64')}`,
    });
    const env = { HTTPS_PROXY: 'http://a:s3cret@p:1', NO_PROXY: 'b.example' };
    const upstream =
      'name=a,url=https://a.example/v1 name=b,url=https://b.example/v1 name=c,url=https://c/v1,proxy=env name=d,url=https://d.example/v1,http2=true';
    expect(adviceFor(load({ env, flags: { upstream } }), env, [])).toMatchObject([
      { code: 'proxy_unused', variables: ['HTTPS_PROXY'], providers: ['a', 'd'] },
    ]);
  });

  test.each([
    ['https://a.example', 'a.example', true],
    ['https://a.example', '.example', true],
    ['https://a.example', 'example.', true],
    ['https://a.example', '*.example', true],
    ['https://example', '*.example', false],
    ['https://example', '.example', true],
    ['https://an.example', 'n.example', false],
    ['https://a.example', 'b.example, A.EXAMPLE', true],
    ['https://a.example', 'a.example:443', true],
    ['https://a.example', 'a.example:80', false],
    ['http://a.example:8080', 'a.example:8080', true],
    ['https://a.example', 'none *', true],
    ['https://a.example', '*:80', false],
    ['https://a.example', '', false],
    ['http://10.1.2.3', '10.0.0.0/8', true],
    ['http://11.1.2.3', '10.0.0.0/8', false],
    ['http://10.1.2.3', '10.1.2.3', true],
    ['http://10.1.2.3:8000', '10.1.2.3:8000', true],
    ['http://[::1]:8000', '::1', true],
    ['http://[::1]:8000', '[::1]:8000', true],
    ['http://[::1]:8000', '[::1]:8001', false],
    ['http://[fd00::1]', 'fd00::/8', true],
    ['http://a.example', '10.0.0.0/8, ::/0', false],
  ])('%s is exempt by %j: %s', (url, noProxy, expected) => {
    expect(isExempt(new URL(url), noProxy)).toBe(expected);
  });

  test('an error about it tells no password, whatever else is wrong', () => {
    for (const proxy of [
      'http://a:s3cret@p:1',
      'http://a:s3/cret@p',
      'socks5://a:s3cret@p',
      'a:s3cret@p',
      'http://p/s3cret',
    ]) {
      for (const more of [
        {},
        { http2: true, url: 'http://a/v1' },
        { certFile: 'x' },
        { keyHeader: 'x' },
        { proxyAuthEnv: 'x' },
        { more: 1 },
      ]) {
        const asking = (): unknown => transportOf({ proxy, ...more });
        expect(asking).toThrow(ConfigError);
        expect(asking).not.toThrow(/s3|cret@/);
      }
    }
    expect(() => load({ flags: { upstream: 'x' } })).toThrow(ConfigError);
  });
});

test.each([
  ['a quote that is not closed', 'upstream:\n  - name: a\n    apiKey: "sk-SEKRET\n'],
  ['a tab', 'upstream:\n\tapiKey: sk-SEKRET\n'],
  ['JSON without a comma', '{"apiKey": "sk-SEKRET" "b": 1}'],
  ['an alias of nothing', 'apiKey: *sk-SEKRET\n'],
  ['a tag of nobody', 'apiKey: !sk-SEKRET x\n'],
  ['a key twice', 'sk-SEKRET: 1\nsk-SEKRET: 2\n'],
])('a file that is no YAML is not quoted, and is one line: %s', (_what, text) => {
  let message = '';
  try {
    load({ yaml: text });
  } catch (error) {
    message = (error as Error).message;
    // What is logged with it has no more than its message.
    expect((error as Error).cause).toBeUndefined();
  }
  if (!message.includes('unknown setting')) {
    expect(message).toMatch(/^spillway\.yaml: expected YAML, got [^\n]+$/);
  }
  expect(message).not.toMatch(/SEKRET[^:]*\n|apiKey: .*SEKRET/);
});
