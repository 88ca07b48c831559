import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fliteMissing, pocketsphinxMissing } from '@spillway/voice';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { configAsJson, configAsYaml } from '../src/cli/show-config.ts';
import { adviceFor } from '../src/config/advice.ts';
import { effectiveSettings } from '../src/config/effective.ts';
import { loadSettings, type Settings } from '../src/config/load.ts';
import { startCascadeProvider } from './support/cascade-provider.ts';
import { run } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { apiKey, authToken, startRealtimeProvider } from './support/signed-line.ts';

const env = {
  OPENAI_API_KEY: apiKey,
  GEMINI_API_KEY: apiKey,
  TWILIO_AUTH_TOKEN: authToken,
  TOOL_KEY: 'tool-SEKRET',
};
const good = { model: 'openai/gpt-realtime-2', publicUrl: 'https://calls.example/' };
const cascade = {
  recognise: 'openai/gpt-4o-mini-transcribe',
  reason: 'openai/gpt-4o-mini',
  speak: 'openai/gpt-4o-mini-tts',
};
const tool = { name: 'hours', description: 'When it is open.', url: 'https://tools.example/hours' };

function load(
  voice: unknown,
  {
    more = {},
    variables = env,
  }: { readonly more?: object; readonly variables?: Record<string, string> } = {},
): Settings {
  const text = stringify({ ...more, voice });
  return loadSettings({ flags: {}, env: variables, file: { path: 'spillway.yaml', text } });
}

describe('the settings of calls', () => {
  test('are refused beside a tap that would hold each call back, and taken beside one that leaves calls out', () => {
    const to = 'sqlite:audit.db';
    const withTap = (tap: object): Settings => load(good, { more: { tap: [{ name: 'audit', to, ...tap }] } });
    expect(() => withTap({ gate: true })).toThrow(
      /^tap\.audit: expected providers, models, tenants or callers that leave out the calls of voice \(openai\/gpt-realtime-2, without a caller\) beside gate: true/u,
    );
    expect(() => withTap({ gate: true, providers: ['open*'] })).toThrow(/leave out the calls/u);
    for (const tap of [
      {},
      { gate: true, models: ['gpt-5*'] },
      { gate: true, callers: ['?*'] },
      { gate: true, tenants: ['clinic'] },
    ])
      expect(withTap(tap).voice).toBeDefined();
  });

  test('name a tenant, whose limits are used then, and only for calls that are signed', () => {
    const tenant = 'clinic';
    const more = { tenant: [{ name: tenant, streams: 5 }] };
    expect(load({ ...good, tenant }, { more }).voice).toMatchObject({ tenant });
    const unused = (voice: object): boolean =>
      adviceFor(load(voice, { more }), {}, []).some(({ code }) => code === 'limit_unused');
    expect(unused({ ...good, tenant })).toBe(false);
    expect(unused(good)).toBe(true);
    const others = { more: { tenant: [{ name: '*', streams: 5 }] } };
    const adviceOn = (name: string): readonly string[] =>
      adviceFor(load({ ...good, tenant: name }, others), {}, []).map(({ message }) => message);
    expect(adviceOn('clinik')).toContainEqual(
      expect.stringMatching(/^Calls are of the tenant clinik.*the limits of \*/u),
    );
    expect(() => load({ model: 'simulated', tenant }, { variables: {} })).toThrow(
      /^voice\.tenant: expected publicUrl and the auth token/u,
    );
    expect(() => load({ ...good, tenant: 'No Name' })).toThrow(/tenant.*expected the name of a tenant/u);
    const gate = { name: 'audit', to: 'sqlite:audit.db', gate: true, tenants: [tenant] };
    expect(() => load({ ...good, tenant }, { more: { tap: [gate] } })).toThrow(/leave out the calls/u);
  });

  test('have the default provider, the usual variable and the same meaning as a text', () => {
    const { voice } = load(good);
    expect(voice).toMatchObject({
      model: { api: 'openai', name: 'gpt-realtime-2', provider: { name: 'openai' } },
      line: { authToken, publicUrl: 'https://calls.example' },
      greeting: 'Say hello.',
      windowMs: 800,
      maxAnswerMs: 120_000,
      maxDurationMs: 3_600_000,
      maxCalls: 100,
      tools: [],
    });
    const flags = { voice: 'model=openai/gpt-realtime-2,publicUrl=https://calls.example' };
    expect(loadSettings({ flags, env, file: undefined }).voice).toEqual(voice);
    const variables = { ...env, SPILLWAY_VOICE: flags.voice };
    expect(loadSettings({ flags: {}, env: variables, file: undefined }).voice).toEqual(voice);
    expect(loadSettings({ flags: {}, env, file: undefined }).voice).toBeUndefined();
    expect(load('simulated', { variables: {} }).voice).toMatchObject({ model: undefined, line: undefined });
  });

  test('name three models instead of one, with their keys, and are told without them', () => {
    const keys = { ...env, DEEPGRAM_API_KEY: 'dg-SEKRET', ELEVENLABS_API_KEY: 'el-SEKRET' };
    const { publicUrl } = good;
    const openai = { kind: 'openai', url: 'https://api.openai.com', apiKey };
    expect(load({ publicUrl, cascade }).voice).toMatchObject({
      greeting: 'Say hello.',
      model: {
        api: 'cascade',
        recognise: { ...openai, name: 'gpt-4o-mini-transcribe' },
        reason: 'openai/gpt-4o-mini',
        speak: { ...openai, name: 'gpt-4o-mini-tts' },
        unheardMs: 800,
      },
    });
    const own = {
      recognise: 'deepgram/nova-3',
      reason: 'fast',
      speak: { model: 'elevenlabs/Bob', voiceModel: 'flash', url: 'wss://eu.example/?key=SEKRET' },
      unheardMs: 0,
    };
    const more = { model: 'name=fast,targets=openai/gpt-4o-mini' };
    const settings = load({ publicUrl, cascade: own }, { more, variables: keys });
    expect(settings.voice?.model).toMatchObject({
      recognise: { kind: 'deepgram', name: 'nova-3', url: undefined, apiKey: 'dg-SEKRET' },
      reason: 'fast',
      speak: { kind: 'elevenlabs', name: 'Bob', voiceModel: 'flash', apiKey: 'el-SEKRET' },
      unheardMs: 0,
    });
    const shown = [configAsYaml(settings, [], keys), JSON.stringify(effectiveSettings(settings, keys))].join(
      '\n',
    );
    expect(shown).not.toContain('SEKRET');
    expect(shown).toContain('deepgram/nova-3, fast, elevenlabs/Bob   https://calls.example/voice/twilio');
    const again = loadSettings({
      flags: {},
      env: keys,
      file: { path: 'a', text: configAsYaml(load({ publicUrl, cascade }, { variables: keys }), [], keys) },
    });
    expect(again.voice).toEqual(load({ publicUrl, cascade }, { variables: keys }).voice);
    // A key of a provider goes to no other URL.
    const elsewhere = { ...cascade, speak: { model: 'openai/tts', url: 'http://127.0.0.1:1/v1' } };
    expect(load({ publicUrl, cascade: elsewhere }).voice?.model).toMatchObject({
      speak: { url: 'http://127.0.0.1:1', apiKey: undefined },
    });
  });

  test('name a model of text by an API that all of its targets have', () => {
    const upstream = [
      { name: 'openai', url: 'https://api.openai.com/v1', apiKeyEnv: 'OPENAI_API_KEY' },
      { name: 'claude', api: 'anthropic', url: 'https://api.anthropic.com', apiKeyEnv: 'OPENAI_API_KEY' },
      { name: 'google', api: 'gemini', url: 'https://gemini.example', apiKeyEnv: 'GEMINI_API_KEY' },
      // One that serves two APIs, of which one has no key.
      { name: 'both', api: 'anthropic', url: 'https://both.example', apiKeyEnv: 'OPENAI_API_KEY' },
      { name: 'both', api: 'openai', url: 'https://both.example/v1' },
      { name: 'keyless', api: 'gemini', url: 'https://keyless.example' },
      { name: 'azure', api: 'azure', url: 'https://azure.example', apiKeyEnv: 'OPENAI_API_KEY' },
    ];
    const model = [
      { name: 'fast', targets: 'openai/small', fallback: 'both/small' },
      { name: 'wise', targets: 'claude/large', fallback: 'both/large' },
      { name: 'mixed', targets: 'openai/small', fallback: 'claude/small' },
    ];
    const tenant = [{ name: 'clinic' }];
    const variables = { ...env, SPILLWAY_API_KEYS: 'clinic/web=sk-web' };
    const modelOf = (reason: string): unknown => {
      const voice = { publicUrl: good.publicUrl, cascade: { ...cascade, reason } };
      return load(voice, { more: { upstream, model, tenant }, variables }).voice?.model;
    };
    expect(['openai/small', 'claude/large', 'google/flash', 'wise'].map(modelOf)).toMatchObject([
      { reasonApi: 'openai' },
      { reasonApi: 'anthropic' },
      { reasonApi: 'gemini' },
      { reasonApi: 'anthropic' },
    ]);
    expect(() => modelOf('mixed')).toThrow(
      'voice.cascade.reason: expected a model whose targets have one of the APIs openai, anthropic, gemini in common, got mixed, which has openai, anthropic',
    );
    for (const reason of ['keyless/flash', 'both/small', 'fast'])
      expect(() => modelOf(reason)).toThrow(
        /expected a provider with a key of its own .* got (?:keyless|both)$/u,
      );
    expect(() => modelOf('azure/gpt')).toThrow(
      'expected the name of a provider with the API openai, anthropic or gemini before the slash (openai, claude, google, both, keyless), or a name of model, got "azure/gpt"',
    );
  });

  test('name programs of this machine, whose calls need no signature as long as nobody else is asked', () => {
    const offline = { recognise: 'pocketsphinx', reason: 'simulated/sim:talk', speak: 'flite' };
    const grammarFile = join(temporaryFolder(), 'hours.gram');
    writeFileSync(grammarFile, '#JSGF V1.0; grammar g; public <g> = hello;');
    const { voice } = load(
      { cascade: { ...offline, recognise: { model: 'pocketsphinx', grammarFile } }, voice: 'slt' },
      { variables: {} },
    );
    expect(voice).toMatchObject({
      line: undefined,
      voice: 'slt',
      model: {
        recognise: { kind: 'pocketsphinx', grammar: expect.stringMatching(/^#JSGF/u) },
        speak: { kind: 'flite' },
      },
    });
    const variables = { OPENAI_API_KEY: apiKey };
    expect(() => load({ cascade: { ...offline, reason: 'openai/gpt-4o-mini' } }, { variables })).toThrow(
      /^voice\.authTokenEnv: expected the auth token/u,
    );
    expect(() => load({ cascade: { ...offline, reason: 'other/m' } }, { variables: {} })).toThrow(
      'voice.cascade.reason: expected simulated/sim, because there is no provider',
    );
  });

  test('take texts and secrets from files', () => {
    const folder = temporaryFolder();
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const authTokenFile = file('token', 'token-of-a-file\n');
    const instructionsFile = file('instructions.txt', 'Be brief.\n');
    const fillerFile = file('hum.ulaw', 'hum');
    const tools = [{ ...tool, apiKeyFile: file('key', 'tool-key\n'), headers: { 'X-Desk': 'one' } }];
    expect(load({ ...good, authTokenFile, fillerFile, instructionsFile, tools }).voice).toMatchObject({
      filler: { bytes: Buffer.from('hum'), isWav: false },
      instructions: 'Be brief.',
      line: { authToken: 'token-of-a-file' },
      tools: [{ headers: { authorization: 'Bearer tool-key', 'x-desk': 'one' }, deadlineMs: 10_000 }],
    });
    const variables = { OPENAI_API_KEY: apiKey, TWILIO_AUTH_TOKEN_FILE: authTokenFile };
    expect(load(good, { variables }).voice).toMatchObject({ line: { authToken: 'token-of-a-file' } });
  });

  test.each([
    ['no model', { publicUrl: 'https://a' }, 'voice.model (spillway.yaml:2): '],
    [
      'a model of nobody',
      { ...good, model: 'other/m' },
      'voice.model: expected simulated, or the name of a provider with the API openai or gemini before the slash (openai, gemini), got "other"',
    ],
    [
      'a model without an owner',
      { ...good, model: 'gpt' },
      'expected simulated, or NAME/MODEL with the name of a provider, got "gpt"',
    ],
    [
      'a noise that Gemini would answer',
      { ...good, model: 'gemini/live', onShortNoise: 'resume' },
      'voice.onShortNoise: expected drop with a model of Gemini',
    ],
    [
      'no model of Gemini’s',
      { ...good, model: 'gemini/a/b' },
      'expected the name of a model behind the slash',
    ],
    [
      'no URL',
      { model: good.model },
      'voice.publicUrl: expected the URL at which the carrier reaches the gateway',
    ],
    [
      'a URL in the clear',
      { ...good, publicUrl: 'http://calls.example' },
      'expected an https:// URL without user, password, query and fragment (http:// for this machine alone), got "http://calls.example"',
    ],
    [
      'a URL with a password',
      { ...good, publicUrl: 'https://u:SEKRET@a.example' },
      'got "https://***@a.example"',
    ],
    [
      'the URL of the webhook',
      { ...good, publicUrl: 'https://calls.example/voice/twilio' },
      'voice.publicUrl (spillway.yaml:3): expected the URL without /voice/twilio, which the gateway adds itself, as https://calls.example, got "https://calls.example/voice/twilio"',
    ],
    [
      'a token as its own',
      { ...good, authToken: 'SEKRET' },
      'unknown setting (spillway.yaml:4); name an environment variable in authTokenEnv or a file in authTokenFile',
    ],
    [
      'a token of no variable',
      { ...good, authTokenEnv: 'NONE' },
      'voice: expected the auth token in the environment variable NONE (authTokenEnv), got nothing',
    ],
    [
      'a token twice',
      { ...good, authTokenEnv: 'A', authTokenFile: 'b' },
      'expected authTokenEnv or authTokenFile, got both',
    ],
    ['a key that is misspelt', { ...good, instruction: 'x' }, 'did you mean instructions?'],
    [
      'instructions twice',
      { ...good, instructions: 'x', instructionsFile: 'y' },
      'expected instructions or instructionsFile, got both',
    ],
    [
      'a filler that is no sound of a telephone',
      { ...good, fillerFile: 'hum.mp3' },
      'voice.fillerFile (spillway.yaml:4): expected a file with a name that ends in .wav or .ulaw',
    ],
    [
      'a filler that is not there',
      { ...good, fillerFile: 'none.wav' },
      'voice.fillerFile: expected a file that can be read, got ENOENT',
    ],
    [
      'a window that is too small',
      { ...good, windowMs: '200ms' },
      'voice.windowMs (spillway.yaml:4): expected a duration from 600ms to 1s',
    ],
    [
      'a number that is none',
      { ...good, failureDial: 'Ulm' },
      'expected a telephone number, as +15550100, got "Ulm"',
    ],
    [
      'a number without quotes',
      { ...good, failureDial: 15_550_100 },
      'expected a telephone number in quotes, as "+15550100"',
    ],
    [
      'a language in words',
      { ...good, language: 'German' },
      'expected a language, as en or en-US, got "German"',
    ],
    [
      'a tool’s secret in the file',
      { ...good, tools: [{ ...tool, headers: { Authorization: 'SEKRET' } }] },
      'expected no secret (a key goes into apiKeyEnv or apiKeyFile), got a header with the name of one',
    ],
    [
      'a tool’s password in its URL',
      { ...good, tools: [{ ...tool, url: 'https://u:SEKRET@tools.example/hours' }] },
      'expected a URL without user, password and fragment (a key goes into apiKeyEnv or apiKeyFile), got "https://***@tools.example/hours"',
    ],
    [
      'a tool’s key of no variable',
      { ...good, tools: [{ ...tool, apiKeyEnv: 'NONE' }] },
      'voice.tools hours: expected the key in the environment variable NONE',
    ],
    [
      'a tool that is misspelt',
      { ...good, tools: [{ ...tool, timeoutMs: 1 }] },
      'voice.tools.0.timeoutMs: unknown setting',
    ],
    [
      'two tools of a name',
      { ...good, tools: [tool, tool] },
      'expected a different name for each, got one twice',
    ],
    ['two models', 'simulated simulated', 'got several'],
    [
      'a model and a cascade',
      { ...good, cascade },
      'voice.cascade (spillway.yaml:5): expected model or cascade, got both',
    ],
    [
      'neither',
      { publicUrl: good.publicUrl },
      'voice.model (spillway.yaml:2): expected model or cascade, got none of both',
    ],
    ...(
      [
        [
          'a reasoner of nobody',
          { reason: 'opnai/gpt-4o-mini' },
          'voice.cascade.reason: expected the name of a provider with the API openai, anthropic or gemini before the slash (openai, gemini), got "opnai/gpt-4o-mini"; did you mean openai?',
        ],
        [
          'a URL as a reasoner',
          { reason: 'https://user:SEKRET@a/v1' },
          'voice.cascade.reason (spillway.yaml:5): expected a model, as openai/gpt-4o-mini, or a name of model:, got "https://***@a/v1"',
        ],
        [
          'a recogniser of another API',
          { recognise: 'gemini/gemini-3-flash' },
          'voice.cascade.recognise: expected the name of a provider with the API openai before the slash (openai)',
        ],
        [
          'a recogniser without a slash',
          { recognise: 'nova-3' },
          'voice.cascade.recognise.model (spillway.yaml:4): expected NAME/MODEL with the name of a provider, deepgram/MODEL or pocketsphinx, got "nova-3"',
        ],
        [
          'a recogniser without a key',
          { recognise: 'deepgram/nova-3' },
          'voice.cascade.recognise: expected the key of deepgram/nova-3 in the environment variable DEEPGRAM_API_KEY',
        ],
        [
          'a recogniser of nobody',
          { recognise: 'whisper/large' },
          'voice.cascade.recognise: expected the name of a provider with the API openai before the slash (openai), got "whisper/large"',
        ],
        [
          'a key as its own',
          { recognise: { model: 'deepgram/nova-3', apiKey: 'SEKRET' } },
          'voice.cascade.recognise.apiKey: unknown setting',
        ],
        [
          'a service of a program',
          { recognise: { model: 'pocketsphinx', url: 'http://127.0.0.1:1' } },
          'voice.cascade.recognise.url: expected none with pocketsphinx, a program of this machine',
        ],
        [
          'a grammar of a service',
          { recognise: { model: 'openai/whisper-1', grammarFile: 'a.gram' } },
          'voice.cascade.recognise.grammarFile: expected none with openai/whisper-1: it is for pocketsphinx',
        ],
        [
          'a grammar that is not there',
          { recognise: { model: 'pocketsphinx', grammarFile: 'none.gram' } },
          'voice.cascade.recognise.grammarFile: expected a file that can be read, got ENOENT',
        ],
        [
          'the way of another service',
          { recognise: { model: 'deepgram/nova-3', apiKeyEnv: 'TOOL_KEY', url: 'https://a.example' } },
          'voice.cascade.recognise.url: expected a ws:// or wss:// URL with deepgram/nova-3, got "https://a.example"',
        ],
        [
          'two keys',
          { speak: { model: 'elevenlabs/v', apiKeyEnv: 'A', apiKeyFile: 'b' } },
          'expected apiKeyEnv or apiKeyFile, got both',
        ],
        [
          'a misspelt key of a stage',
          { speak: { model: 'elevenlabs/v', voicemodel: 'x' } },
          'did you mean voiceModel?',
        ],
        [
          'the model of another speaker',
          { speak: { model: 'flite', voiceModel: 'x' } },
          'voice.cascade.speak.voiceModel: expected none with flite: it is for elevenlabs',
        ],
        [
          'a threshold that is too high',
          { unheardMs: '1m' },
          'voice.cascade.unheardMs (spillway.yaml:7): expected a duration from 0 to 10s',
        ],
      ] as const
    ).map(([what, stage, message]): [string, object, string] => [
      what,
      { publicUrl: good.publicUrl, cascade: { ...cascade, ...stage } },
      message,
    ]),
    [
      'a language that a program does not know',
      { publicUrl: good.publicUrl, language: 'de', cascade: { ...cascade, speak: 'flite' } },
      'voice.language: expected en with flite, which knows no other language, got de',
    ],
    [
      'a voice that flite has not',
      { publicUrl: good.publicUrl, voice: 'Ada', cascade: { ...cascade, speak: 'flite' } },
      'voice.voice: expected rms, slt, awb, kal16, kal with flite, got "Ada"',
    ],
    [
      'a voice that has no such id',
      {
        publicUrl: good.publicUrl,
        cascade: { ...cascade, speak: { model: 'elevenlabs/a/b', apiKeyEnv: 'TOOL_KEY' } },
      },
      'voice.cascade.speak: expected the id of a voice behind elevenlabs/, got "a/b"',
    ],
    [
      'a voice beside one',
      {
        publicUrl: good.publicUrl,
        voice: 'Ada',
        cascade: { ...cascade, speak: { model: 'elevenlabs/Bob', apiKeyEnv: 'TOOL_KEY' } },
      },
      'voice.voice: expected none beside elevenlabs/Bob, which names the voice, got "Ada"',
    ],
  ])('with %s are refused', (_, voice, message) => {
    let problem = '';
    try {
      load(voice);
    } catch (error) {
      problem = (error as Error).message;
    }
    expect(problem).toContain(message);
    expect(problem).not.toContain('SEKRET');
  });

  test('without a token are for this machine alone, with the simulated model and without keys', () => {
    const needed = 'voice.authTokenEnv: expected the auth token of the account';
    const variables = { OPENAI_API_KEY: apiKey };
    expect(() => load({ model: good.model }, { variables })).toThrow(needed);
    const keyed = { SPILLWAY_API_KEYS: 'web=0123456789abcdef' };
    expect(() => load('simulated', { variables: keyed })).toThrow(needed);
    const open = { more: { host: '0.0.0.0', simulated: true }, variables: keyed };
    expect(() => load('simulated', open)).toThrow(needed);
    expect(() => load({ ...good, model: 'simulated' }, { variables })).toThrow(
      'voice.publicUrl: expected the auth token of the account beside it',
    );
    expect(load({ ...good, model: 'simulated' }).voice).toMatchObject({ line: { authToken } });
  });

  test('obey no proxy, and say so', () => {
    const upstream = [{ name: 'far', url: 'https://a.example/v1', proxy: 'http://proxy.example:3128' }];
    expect(() => load({ ...good, model: 'far/m' }, { more: { upstream } })).toThrow(
      'voice.model: expected a provider without proxy, caFile and certFile, which calls do not obey, got far',
    );
  });
});

describe('what is in force', () => {
  const whole = {
    ...good,
    maxDurationMs: '10m',
    tools: [
      {
        ...tool,
        url: 'https://tools.example/hours?key=SEKRET',
        apiKeyEnv: 'TOOL_KEY',
        parameters: { type: 'object', maxMs: 5000 },
      },
    ],
  };

  test('is a file that means the same again, without secrets', () => {
    const settings = load({ ...whole, tools: [{ ...whole.tools[0], url: tool.url }] });
    const text = configAsYaml(settings, [], env);
    expect(text).toContain('  maxDurationMs: 10m\n');
    const again = loadSettings({ flags: {}, env, file: { path: 'a', text } });
    expect(again.config.voice).toEqual(settings.config.voice);
    const shown = [
      configAsYaml(load(whole), [], env),
      JSON.stringify(configAsJson(load(whole), [], env)),
      JSON.stringify(effectiveSettings(load(whole), env)),
    ].join('\n');
    for (const secret of ['SEKRET', authToken, apiKey]) expect(shown).not.toContain(secret);
    expect(parse(text)).toMatchObject({ voice: { tools: [{ parameters: { maxMs: 5000 } }] } });
  });

  test('is a line on the console', () => {
    const line = effectiveSettings(load(whole), env).find(({ key }) => key === 'voice');
    expect(line?.value).toBe(
      'openai/gpt-realtime-2   https://calls.example/voice/twilio   at most 100 calls, tools: hours',
    );
  });

  test('is advised about where it may not be meant', () => {
    const codes = (settings: Settings, variables: Record<string, string> = env): string[] =>
      adviceFor(settings, variables, []).map(({ code, message }) => `${code}: ${message}`);
    expect(codes(load(good))).toEqual([]);
    expect(codes(load({ ...good, publicUrl: 'http://localhost:8080' }))).toEqual([
      'voice_url: voice.publicUrl is http://localhost:8080, which no carrier reaches: calls come from this machine alone.',
    ]);
    expect(codes(loadSettings({ flags: {}, env, file: undefined }))).toEqual([
      'variable_unused: TWILIO_AUTH_TOKEN is not used: no calls are configured (voice).',
    ]);
    const variables = { ...env, SPILLWAY_TOKEN: authToken };
    expect(codes(load({ ...good, authTokenEnv: 'SPILLWAY_TOKEN' }, { variables }), variables)).toEqual([
      'variable_unused: TWILIO_AUTH_TOKEN is not used: voice has another one.',
    ]);
  });
});

test('a gateway with a tool that cannot be used does not start', async () => {
  const folder = temporaryFolder();
  const tools = [{ ...tool, parameters: { type: 'no type' } }];
  writeFileSync(join(folder, 'spillway.yaml'), stringify({ voice: { ...good, tools } }));
  const command = run(['serve', '--port', '0', '--admin-port', '0'], { cwd: folder, env });
  expect(await command.exited).toBe(78);
  expect(command.stderr()).toMatch(/^spillway: voice\.tools: hours: parameters: expected a JSON Schema/);
});

describe('`spillway check`', () => {
  async function check(voice: object, url: string): Promise<Record<string, string>> {
    const folder = temporaryFolder();
    const upstream = [{ name: 'openai', url, apiKeyEnv: 'OPENAI_API_KEY' }];
    writeFileSync(join(folder, 'spillway.yaml'), stringify({ upstream, voice: { ...good, ...voice } }));
    const command = run(['check', '--json', '--port', '0', '--admin-port', '0'], { cwd: folder, env });
    await command.exited;
    const found = JSON.parse(command.stdout()) as { check: string; status: string; message: string }[];
    return Object.fromEntries(
      found
        .filter(({ check: name }) => name.startsWith('voice '))
        .map(({ check: name, message, status }) => [name, `${status}: ${message}`]),
    );
  }

  test('opens a session, in which nothing is said, and looks at the line', async () => {
    const provider = await startRealtimeProvider();
    expect(await check({ tools: [tool] }, provider.url)).toEqual({
      'voice model openai/gpt-realtime-2': 'ok: It takes the key, the instructions and the tools.',
      'voice line': "ok: The number's webhook is https://calls.example/voice/twilio, by HTTP POST.",
      'voice token': 'ok: It looks like an auth token of Twilio.',
    });
    expect(provider.sessions.map(({ truth }) => truth.responses)).toEqual([[]]);
  });

  test('says a word with the speaker of a cascade, and opens its recogniser', async () => {
    const provider = await startCascadeProvider();
    const found = await check({ model: undefined, cascade }, provider.url);
    expect(found).toMatchObject({
      'voice recogniser openai/gpt-4o-mini-transcribe': 'ok: It takes audio.',
      'voice reasoner openai/gpt-4o-mini': 'ok: It is asked through this gateway, as by its clients.',
      'voice speaker openai/gpt-4o-mini-tts': 'ok: It says a word.',
    });
    expect(provider.spoken).toEqual(['One.']);
    // Neither costs anything: an answer and words of speech are not asked for.
    expect([provider.asked, provider.transcribed]).toEqual([[], []]);
    const wrong = await check({ model: undefined, cascade }, 'http://127.0.0.1:9/v1');
    expect(wrong['voice speaker openai/gpt-4o-mini-tts']).toMatch(
      /^fail: It does not work: .*cannot be reached/u,
    );
    const offline = { recognise: 'pocketsphinx', reason: cascade.reason, speak: 'flite' };
    const here = await check({ model: undefined, cascade: offline }, provider.url);
    const missing = { flite: await fliteMissing(), pocketsphinx: await pocketsphinxMissing() };
    const one = 'voice recogniser pocketsphinx';
    if (missing.flite === undefined && missing.pocketsphinx === undefined)
      expect(here).toMatchObject({
        [one]: 'ok: It hears a word that is spoken.',
        'voice speaker flite': 'ok: It says a word.',
      });
    if (missing.flite !== undefined) expect(here['voice speaker flite']).toContain('apt-get install flite');
    if (missing.pocketsphinx !== undefined) expect(here[one]).toContain('apt-get install');
  });

  test('says what is wrong', async () => {
    const provider = await startRealtimeProvider({ apiKey: 'another' });
    const wrong = { publicUrl: 'http://127.0.0.1:8080', authTokenEnv: 'TOOL_KEY' };
    const found = await check(wrong, provider.url);
    expect(found['voice model openai/gpt-realtime-2']).toMatch(
      /^fail: No session with it: .*\(unauthorized\)$/,
    );
    expect(found['voice line']).toMatch(/^warn: .* no carrier reaches/);
    expect(found['voice token']).toMatch(/^warn: It is not 32 digits of base 16/);
    const tools = [{ ...tool, parameters: { type: 'no type' } }];
    const asked = await check({ tools }, provider.url);
    expect(asked['voice model openai/gpt-realtime-2']).toMatch(/^fail: voice\.tools: hours: parameters: /);
    const fillerFile = join(temporaryFolder(), 'hum.wav');
    writeFileSync(fillerFile, 'RIFF of something else');
    const filled = await check({ fillerFile }, provider.url);
    expect(filled['voice model openai/gpt-realtime-2']).toMatch(
      /^fail: voice\.fillerFile: expected a WAV file, /,
    );
  });
});
