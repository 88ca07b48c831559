import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadSettings, type Settings } from '../src/config/load.ts';
import { startGateway } from './support/processes.ts';
import { postChat } from './support/requests.ts';
import { startStrictProvider } from './support/strict-provider.ts';

const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function file(text: string): string {
  const path = join(folder, String((files += 1)));
  writeFileSync(path, text);
  return path;
}

function load(upstream: Record<string, string>, env: Record<string, string> = {}): Settings {
  const yaml = JSON.stringify({ upstream: [{ url: 'https://a.example/v1', ...upstream }] });
  return loadSettings({ flags: {}, env, file: { path: 'spillway.yaml', text: yaml } });
}

function messageOf(loading: () => unknown): string {
  try {
    loading();
  } catch (error) {
    expect(error).toMatchObject({ code: 'config_invalid' });
    return (error as Error).message;
  }
  return expect.unreachable('it was accepted');
}

/** A key that a header can carry. */
const key = fc.stringMatching(/^[\x21-\x7e]{1,60}$/);
const lineEnds = fc.constantFrom('', '\n', '\r\n', '\n\n');

describe('a key of a provider', () => {
  test('is what the file has, without the line ends at its end, and the same as in a variable', () => {
    fc.assert(
      fc.property(key, lineEnds, (secret, end) => {
        expect(load({ apiKeyFile: file(secret + end) }).providers[0]?.apiKey).toBe(secret);
        expect(load({ apiKeyEnv: 'KEY' }, { KEY: secret + end }).providers[0]?.apiKey).toBe(secret);
      }),
    );
  });

  test('that is no line of ASCII is refused, and nothing of it is printed', () => {
    const wrong = fc.oneof(
      fc
        .tuple(key, fc.constantFrom('\n', '\t', '\0', 'é', '\u2028', '\x7f'), key)
        .map((parts) => parts.join('')),
      key.map((secret) => ` ${secret}`),
      key.map((secret) => `${secret} `),
      key.map((secret) => `\ufeff${secret}`),
    );
    fc.assert(
      fc.property(wrong, (secret) => {
        const marked = `§${secret}`;
        for (const loading of [
          () => load({ apiKeyFile: file(marked) }),
          () => load({ apiKeyFile: file(secret) }),
          () => load({ apiKeyEnv: 'KEY' }, { KEY: secret }),
        ]) {
          expect(messageOf(loading)).toMatch(
            /^upstream upstream: expected the key in .*, got something else$/,
          );
        }
      }),
    );
  });

  test.each(['', '\n', '\r\n\n'])('that is %j is missing', (text) => {
    expect(messageOf(() => load({ apiKeyFile: file(text) }))).toBe(
      'upstream upstream: expected the key in the file of apiKeyFile, got nothing',
    );
  });

  test('is in one place', () => {
    expect(messageOf(() => load({ apiKeyFile: '/a', apiKeyEnv: 'KEY' }, { KEY: 'a' }))).toBe(
      'upstream.0.apiKeyFile (spillway.yaml:1): expected apiKeyEnv or apiKeyFile, got both',
    );
  });

  test('may be in a header of its own', () => {
    expect(load({ apiKeyFile: file('a\n'), keyHeader: 'api-key' }).providers[0]).toMatchObject({
      apiKey: 'a',
      keyHeader: 'api-key',
    });
  });

  test('arrives at its provider', async () => {
    const provider = await startStrictProvider((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('data: [DONE]\n\n');
    });
    const upstream = `url=${provider.url}/v1,apiKeyFile=${file('sk-in-a-file\n')}`;
    const gateway = await startGateway(['--upstream', upstream]);
    await (await postChat(gateway.url, 'a')).text();
    expect(provider.requests[0]?.headers['authorization']).toBe('Bearer sk-in-a-file');
    expect(gateway.stdout() + gateway.stderr()).not.toContain('sk-in-a-file');
  });
});

describe('a file that cannot be read', () => {
  const [pipe, socket, large] = ['pipe', 'socket', 'large'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const listening = createServer();

  beforeAll(async () => {
    // Nobody writes to it: whoever waits for that waits for ever.
    execFileSync('mkfifo', [pipe]);
    listening.listen(socket);
    await once(listening, 'listening');
    writeFileSync(large, '');
    truncateSync(large, 4_194_305);
  });
  afterAll(() => void listening.close());

  /** A key that was set as the path by mistake is no file, either. */
  test.each([
    ['sk-hunter2', 'ENOENT'],
    [folder, 'a folder'],
    [pipe, 'a pipe'],
    [socket, 'a socket or a device'],
    [large, 'more than 4 MiB'],
    [join(folder, 'hunter2', 'key'), 'ENOENT'],
    ['hunter2\0', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/zero', 'a socket or a device'],
  ])('%j is said by its setting and its code alone', (path, code) => {
    const message = `expected a file that can be read, got ${code}`;
    expect(messageOf(() => load({ apiKeyFile: path }))).toBe(`upstream upstream: apiKeyFile: ${message}`);
    expect(messageOf(() => load({ proxy: 'http://p:1', proxyAuthFile: path }))).toBe(
      `upstream upstream: proxyAuthFile: ${message}`,
    );
    for (const [setting, flag] of [
      ['apiKeysFile', '--api-keys-file'],
      ['adminKeysFile', '--admin-keys-file'],
    ] as const) {
      const loading = (): unknown => loadSettings({ flags: { [setting]: path }, env: {}, file: undefined });
      expect(messageOf(loading)).toBe(`${setting} (${flag}): ${message}`);
    }
    const loading = (): unknown =>
      loadSettings({ flags: {}, env: { OPENAI_API_KEY_FILE: path }, file: undefined });
    expect(messageOf(loading)).toBe(`OPENAI_API_KEY: OPENAI_API_KEY_FILE: ${message}`);
  });
});

describe('the password of a proxy', () => {
  const proxy = 'http://p:3128';
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

  test('is what the file has', () => {
    const authorization = (path: string): unknown =>
      load({ proxy, proxyAuthFile: path }).providers[0]?.transport?.proxy?.authorization;
    expect(authorization(file('user:pass word\n'))).toBe(basic('user:pass word'));
    expect(authorization(file('usér:a:b'))).toBe(basic('usér:a:b'));
  });

  test('needs a user before it, a proxy beside it, and one place', () => {
    expect(messageOf(() => load({ proxy, proxyAuthFile: file('hunter2') }))).toBe(
      'upstream upstream: expected USER:PASSWORD in the file of proxyAuthFile, got something else',
    );
    expect(messageOf(() => load({ proxyAuthFile: '/a' }))).toContain('expected the URL of a proxy beside it');
    expect(messageOf(() => load({ proxy, proxyAuthFile: '/a', proxyAuthEnv: 'A' }))).toContain(
      'expected proxyAuthEnv or proxyAuthFile, got both',
    );
  });
});

describe('the key of a default provider', () => {
  const providersIn = (env: Record<string, string>): unknown =>
    loadSettings({ flags: {}, env, file: undefined }).providers.map(({ apiKey, name }) => [name, apiKey]);

  test('may be in the file that NAME_FILE names', () => {
    const env = { OPENAI_API_KEY_FILE: file('o\n'), ANTHROPIC_API_KEY: 'a', GEMINI_API_KEY_FILE: '' };
    expect(providersIn(env)).toEqual([
      ['openai', 'o'],
      ['anthropic', 'a'],
    ]);
    expect(providersIn({ OPENAI_API_KEY: '', OPENAI_API_KEY_FILE: file('o') })).toEqual([['openai', 'o']]);
  });

  test('and not in two places', () => {
    expect(messageOf(() => providersIn({ OPENAI_API_KEY: 'hunter2', OPENAI_API_KEY_FILE: '/hunter2' }))).toBe(
      'OPENAI_API_KEY: expected it or OPENAI_API_KEY_FILE, got both',
    );
  });
});

describe('keys of clients and operators', () => {
  const keysIn = (flags: Record<string, string>, env: Record<string, string> = {}): Settings =>
    loadSettings({ flags, env, file: undefined });

  test('may be in files as they would be in variables, beside these', () => {
    const path = file('# ours\n\nclinic/web=sk-abc,clinic/batch=sk-def\nsk-ghi\n');
    const env = { SPILLWAY_API_KEYS: 'old=sk-old', SPILLWAY_ADMIN_KEYS: 'one' };
    const { adminKeys, apiKeys } = keysIn({ apiKeysFile: path, adminKeysFile: file('two\r\n') }, env);
    expect(apiKeys.map(({ name }) => name)).toEqual([
      'old',
      'clinic/web',
      'clinic/batch',
      expect.any(String),
    ]);
    expect(adminKeys).toHaveLength(2);
  });

  test('a file without any is refused', () => {
    for (const text of ['', '\n', '# nobody\n', ',\n']) {
      expect(messageOf(() => keysIn({ adminKeysFile: file(text) }, { SPILLWAY_ADMIN_KEYS: 'a' }))).toBe(
        'adminKeysFile (--admin-keys-file): expected a file with at least one key, got none',
      );
    }
  });

  test('of the admin listener open it beyond loopback', async () => {
    const gateway = await startGateway(['--admin-host', '0.0.0.0', '--admin-keys-file', file('omega\n')], {
      env: { SPILLWAY_API_KEYS: 'alpha' },
    });
    const url = `${gateway.adminUrl.replace('0.0.0.0', '127.0.0.1')}/metrics`;
    const statusWith = async (secret: string): Promise<number> =>
      (await fetch(url, { headers: { authorization: `Bearer ${secret}` } })).status;
    expect([await statusWith('omega'), await statusWith('alpha')]).toEqual([200, 401]);
  });
});

test('a secret that was set as the name of its variable is not printed', () => {
  for (const secret of ['sk-hunter2', 'gsk_hunter2', 'hunter2', 'a hunter2']) {
    for (const upstream of [{ apiKeyEnv: secret }, { proxy: 'http://p:1', proxyAuthEnv: secret }]) {
      expect(messageOf(() => load(upstream))).not.toContain('hunter2');
    }
    if (/^\w+$/.test(secret)) continue;
    for (const setting of ['apiKeysEnv', 'adminKeysEnv']) {
      const loading = (): unknown => loadSettings({ flags: { [setting]: secret }, env: {}, file: undefined });
      expect(messageOf(loading)).toMatch(
        /: expected the name of an environment variable, got something else$/,
      );
    }
  }
  const beyond = { host: '0.0.0.0', apiKeysEnv: 'gsk_hunter2' };
  expect(messageOf(() => loadSettings({ flags: beyond, env: {}, file: undefined }))).not.toContain('hunter2');
  expect(messageOf(() => load({ apiKeyEnv: 'MY_KEY' }))).toContain(
    'in the environment variable MY_KEY (apiKeyEnv)',
  );
});
