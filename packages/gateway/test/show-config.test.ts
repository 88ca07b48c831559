import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configAsJson, configAsYaml } from '../src/cli/show-config.ts';
import { adviceFor } from '../src/config/advice.ts';
import { loadSettings, type Settings } from '../src/config/load.ts';
import { configOptions } from '../src/config/schema.ts';
import { fileURLToPath } from 'node:url';
import { run } from './support/processes.ts';
import { spawnProgram } from './support/spawn.ts';

const value = fc.oneof(
  fc.integer({ min: 0, max: 2_000_000 }).map(String),
  fc.constantFrom(
    '64k',
    '1MB',
    '30s',
    '5m',
    'true',
    'false',
    'finish',
    'debug',
    '127.0.0.2',
    'https://a.example',
  ),
  fc.constantFrom('10.0.0.0/8, fd00::/8', 'A', '# no', 'a: b', 'a\nb', '- x', '"', '\u2028'),
  fc.constantFrom(
    'http://a.example/v1',
    'name=x,url=https://a.example/v1,queueTimeoutMs=30m,http2=false name=y,api=gemini,url=https://b.example',
    'url=https://a.example/v1?api-version=1,apiKeyEnv=KEY,keyHeader=api-key,detach=cancel',
    'url=https://a.example/v1,proxy=http://p:1',
    'name=a,to=sqlite:a.db,gate=true,retainMs=36h,maxRecordBytes=100000 name=b,to=file:b,shed=reasoning+logprobs',
    'to=stdout:,models=a*+b,redact=email,content=text,overflow=drop-newest',
    'model=simulated,windowMs=700ms,greeting=,maxAnswerMs=90s,failureSay=no',
  ),
);
const someFlags = fc.dictionary(fc.constantFrom(...configOptions.map(({ key }) => key)), value, {
  maxKeys: 8,
});
const env = { KEY: 'hunter2', SPILLWAY_API_KEYS: 'clinic/web=hunter2,hunter3', ANTHROPIC_API_KEY: 'hunter4' };

function tryToLoad(values: Record<string, unknown>): Settings | undefined {
  try {
    return loadSettings({ flags: values, env, file: undefined });
  } catch {
    return undefined;
  }
}

describe('the settings in force', () => {
  test('are a configuration file that means the same again', () => {
    let shown = 0;
    fc.assert(
      fc.property(someFlags, (values) => {
        const settings = tryToLoad(values);
        fc.pre(settings !== undefined);
        // A name that is not in capitals may be a secret, and is not shown.
        fc.pre(!/[a-z]/.test(settings.config.apiKeysEnv + settings.config.adminKeysEnv));
        shown += 1;
        const text = configAsYaml(settings, adviceFor(settings, env, []), env);
        const again = loadSettings({ flags: {}, env, file: { path: 'a', text } });
        expect(again.config).toEqual(settings.config);
        expect(text).not.toContain('hunter');
      }),
      { numRuns: 500 },
    );
    expect(shown).toBeGreaterThan(100);
  });

  test('say where each was set, and have their units', () => {
    const settings = loadSettings({
      flags: { windowBytes: '131072' },
      env: { SPILLWAY_STALL_TIMEOUT_MS: '90000' },
      file: { path: 'spillway.yaml', text: 'port: 9000\nallowedOrigins: [https://a.example]' },
    });
    const lines = configAsYaml(settings, [], {}).split('\n');
    expect(lines).toContain('windowBytes: 128KiB # --window-bytes');
    expect(lines).toContain('stallTimeoutMs: 90s # SPILLWAY_STALL_TIMEOUT_MS');
    expect(lines).toContain('port: 9000 # spillway.yaml');
    expect(lines).toContain('minBytesPerSecond: 100 # default');
    expect(lines).toContain('# apiKeysFile: (not set)');
    expect(configAsJson(settings, [], {})).toMatchObject({
      settings: {
        windowBytes: { value: 131_072, from: '--window-bytes' },
        port: { value: 9000, from: 'spillway.yaml' },
        retainMs: { value: 60_000, from: 'default' },
        apiKeysFile: { value: null, from: 'default' },
      },
      providers: [],
    });
  });

  test('have no secret, wherever one may stand', () => {
    const upstream = 'url=https://a.example/v1?key=hunter2&api-version=1&access_token=hunter2,apiKeyEnv=KEY';
    const settings = loadSettings({ flags: { upstream }, env, file: undefined });
    const text = configAsYaml(settings, [], env);
    const json = JSON.stringify(configAsJson(settings, [], env));
    for (const shown of [text, json]) {
      expect(shown).not.toContain('hunter');
      expect(shown).toContain('?key=***&api-version=1&access_token=***');
      expect(shown).toContain('key in KEY');
      expect(shown).toContain('clinic/web');
    }
  });

  test('have no secret that was set as the name of its variable', () => {
    const flags = { apiKeysEnv: 'gsk_hunter2', adminKeysEnv: 'hunter2' };
    const settings = loadSettings({ flags, env: {}, file: undefined });
    expect(configAsYaml(settings, [], {})).toContain('apiKeysEnv: "***" # --api-keys-env');
    for (const shown of [configAsYaml(settings, [], {}), JSON.stringify(configAsJson(settings, [], {}))]) {
      expect(shown).not.toContain('hunter');
    }
  });

  test('say whose key reaches each provider', () => {
    const keysOf = (sources: { env: Record<string, string>; upstream?: string }): unknown => {
      const values = sources.upstream === undefined ? {} : { upstream: sources.upstream };
      const settings = loadSettings({ flags: values, env: sources.env, file: undefined });
      const { providers } = configAsJson(settings, [], sources.env) as { providers: { key: string }[] };
      return providers.map(({ key }) => key);
    };
    expect(keysOf({ env: { OPENAI_API_KEY: 'a', GEMINI_API_KEY: 'b' } })).toEqual([
      'key in OPENAI_API_KEY',
      'key in GEMINI_API_KEY',
    ]);
    const upstream = 'name=a,url=http://a/v1 name=b,url=http://a/v1,apiKeyFile=/dev/fd/0';
    expect(() => keysOf({ env: {}, upstream: `${upstream}x` })).toThrow('apiKeyFile');
    expect(keysOf({ env: {}, upstream: 'http://a/v1' })).toEqual(["the client's own key"]);
    expect(keysOf({ env: { SPILLWAY_API_KEYS: 'a' }, upstream: 'http://a/v1' })).toEqual(['no key']);
  });
});

describe('the command', () => {
  test('prints them, and can start with what it printed', async () => {
    const command = run(['config', '--port', '9000'], { env: { SPILLWAY_WINDOW_BYTES: '64k' } });
    expect(await command.exited).toBe(0);
    expect(parse(command.stdout())).toMatchObject({ port: 9000, windowBytes: '64KiB' });
    expect(command.stderr()).toBe('');
  });

  test('prints them as JSON', async () => {
    const command = run(['config', '--json'], { env: { OPENAI_API_KEY: 'hunter2', SPILLWAY_PORT: '9000' } });
    expect(await command.exited).toBe(0);
    expect(JSON.parse(command.stdout())).toMatchObject({
      settings: { port: { value: 9000, from: 'SPILLWAY_PORT' } },
      providers: [{ name: 'openai', key: 'key in OPENAI_API_KEY' }],
    });
    expect(command.stdout()).not.toContain('hunter2');
  });

  test('says what is wrong', async () => {
    const command = run(['config', '--port', 'x']);
    expect(await command.exited).toBe(78);
    expect(command.stderr()).toMatch(/^spillway: port \(--port\): expected /);
    expect(command.stdout()).toBe('');
  });

  test('prints the versions', async () => {
    const command = run(['version']);
    expect(await command.exited).toBe(0);
    expect(command.stdout()).toMatch(/^spillway \d+\.\d+\.\d+\nnode \d+\.\d+\.\d+ \(\w+-\w+\)\n$/);
  });

  test('does not mind a reader that has enough', async () => {
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const node = `"${process.execPath}" --conditions=spillway-source "${main}"`;
    const command = spawnProgram(['sh', '-c', `(${node} config; echo "code $?" >&2) | true`]);
    expect(await command.exited).toBe(0);
    expect(command.stderr()).toBe('code 0\n');
  });
});
