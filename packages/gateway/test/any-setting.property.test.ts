import fc from 'fast-check';
import { describe, expect, inject, test } from 'vitest';
import { stringify } from 'yaml';
import { adviceFor } from '../src/config/advice.ts';
import { ConfigError } from '../src/config/config-error.ts';
import { loadSettings } from '../src/config/load.ts';
import { configOptions } from '../src/config/schema.ts';
import type { ConfigSources } from '../src/config/sources.ts';
import { upstreamOptions } from '../src/config/upstream.ts';
import { cascadeOptions, recogniseOptions, speakOptions } from '../src/config/cascade.ts';
import { toolOptions, voiceOptions } from '../src/config/voice.ts';

/** Texts that users and machines put into settings, besides any text at all. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ maxLength: 60 }),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.constantFrom(
    '',
    ' ',
    'foo',
    'env',
    'true',
    '0',
    '-1',
    '64k',
    '5m',
    '1e309',
    '__proto__',
    'constructor',
    '127.0.0.1:11434/v1',
    'localhost:11434',
    'http:',
    'http://',
    'http://:80',
    'http://[::1',
    'http://a:99999',
    'http://a/v1?x\ny',
    'https://user:s3cret@a/v1',
    'tcp://10.0.0.1:8080',
    'url=',
    'url=http://a/v1,=',
    'url=http://a/v1,apiKeyEnv=,keyHeader=',
    'name=a,url=http://a name=a,url=http://b',
    '/nonexistent',
    '/dev/zero',
    '/',
    '\0',
    'a/b/c=d',
    '=',
  ),
);
const setting = fc.constantFrom(...configOptions);
/** A run reads a whole configuration several times. The nightly has many more of them. */
const numRuns = inject('propertyRuns') ?? 300;

/** Loads settings, and also what follows from them. Only a ConfigError may come out. */
function load(sources: Partial<ConfigSources>): boolean {
  const whole = { flags: {}, env: {}, file: undefined, ...sources };
  try {
    const settings = loadSettings(whole);
    for (const { url } of settings.providers) expect(URL.canParse(url), url).toBe(true);
    adviceFor(settings, whole.env, []);
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toMatch(/\S/);
    expect(error.message).not.toContain('    at ');
    expect(error.message).not.toContain('s3cret');
    return false;
  }
}

const fileWith = (content: string): ConfigSources['file'] => ({ path: 'spillway.yaml', text: content });

describe('whatever a setting is set to, it is taken or refused with a reason', () => {
  test('as a flag, a variable and in the file', () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(setting, text), { minLength: 1, maxLength: 3 }), (pairs) => {
        const flags = Object.fromEntries(pairs.map(([{ key }, value]) => [key, value]));
        const env = Object.fromEntries(pairs.map(([{ variable }, value]) => [variable, value]));
        if (load({ flags })) taken += 1;
        load({ env });
        load({ file: fileWith(stringify(flags)) });
      }),
      { numRuns },
    );
    expect(taken).toBeGreaterThan(0);
  });

  test('of a provider, as a text and in the file', () => {
    const key = fc.constantFrom(...upstreamOptions.map((option) => option.key));
    fc.assert(
      fc.property(fc.dictionary(key, text), fc.boolean(), (upstream, isGood) => {
        const whole = isGood ? { url: 'https://a.example/v1', ...upstream } : upstream;
        const words = Object.entries(whole).map(([name, value]) => `${name}=${value}`);
        load({ flags: { upstream: words.join(',') } });
        load({ file: fileWith(stringify({ upstream: [whole] })) });
      }),
      { numRuns },
    );
  });

  test('of calls and their tools, as a text and in the file', () => {
    const keysOf = (options: readonly { readonly key: string }[]): fc.Arbitrary<string> =>
      fc.constantFrom(...options.map(({ key }) => key));
    const calls = fc.dictionary(keysOf(voiceOptions), text);
    fc.assert(
      fc.property(calls, fc.dictionary(keysOf(toolOptions), text), (voice, tool) => {
        const words = Object.entries(voice).map(([name, value]) => `${name}=${value}`);
        load({ flags: { voice: ['model=simulated', ...words].join(',') } });
        load({ file: fileWith(stringify({ voice })) });
        const whole = { name: 'a', description: 'a', url: 'https://a.example', ...tool };
        load({ file: fileWith(stringify({ voice: { model: 'simulated', ...voice, tools: [whole] } })) });
      }),
      { numRuns },
    );
  });

  test('of a cascade and its stages', () => {
    const keysOf = (options: readonly { readonly key: string }[]): fc.Arbitrary<string> =>
      fc.constantFrom(...options.map(({ key }) => key));
    const [three, recognise, speak] = [cascadeOptions, recogniseOptions, speakOptions].map((options) =>
      fc.dictionary(keysOf(options), fc.oneof(text, fc.jsonValue())),
    );
    fc.assert(
      fc.property(
        three ?? fc.constant({}),
        recognise ?? fc.constant({}),
        speak ?? fc.constant({}),
        (given, ...stages) => {
          const good = { recognise: 'pocketsphinx', reason: 'simulated/sim', speak: 'flite' };
          const [hears, speaks] = stages.map((stage, at) => ({
            model: at === 0 ? 'pocketsphinx' : 'flite',
            ...stage,
          }));
          load({ file: fileWith(stringify({ voice: { cascade: { ...good, ...given } } })) });
          load({
            file: fileWith(stringify({ voice: { cascade: { ...good, recognise: hears, speak: speaks } } })),
          });
        },
      ),
      { numRuns },
    );
  });

  test('with any value of YAML', () => {
    fc.assert(
      fc.property(setting, fc.jsonValue(), ({ key }, value) => {
        load({ file: fileWith(stringify({ [key]: value })) });
        load({ file: fileWith(stringify({ upstream: [value] })) });
        load({ file: fileWith(stringify({ voice: value })) });
        load({ file: fileWith(stringify({ voice: { cascade: value } })) });
        load({ file: fileWith(stringify({ voice: { model: 'simulated', tools: value } })) });
      }),
    );
  });

  test('with any text as the file, and with YAML that is made to break a reader', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (content) => void load({ file: fileWith(content) })),
    );
    const bombs = [
      `upstream: &a [*a]`,
      `host: &a {b: *a}`,
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\nhost: [*d,*d,*d,*d,*d,*d,*d]`,
      `host: ${'['.repeat(20_000)}`,
      `upstream: ${'['.repeat(500)}${']'.repeat(500)}`,
      `? [a, b]\n: c`,
      `port: !!binary aGVsbG8=`,
      `port: 2001-12-14`,
      `port: 1\nport: 2`,
      `a: 1\n---\nb: 2`,
      `<<: {port: 1}`,
      `port: !foo 1`,
    ];
    for (const content of bombs) load({ file: fileWith(content) });
  });

  test('with names that every object has', () => {
    for (const name of ['__proto__', 'constructor', 'toString']) {
      expect(load({ flags: { apiKeysEnv: name } })).toBe(true);
      expect(load({ flags: { upstream: `url=http://a/v1,apiKeyEnv=${name}` } })).toBe(false);
      expect(load({ file: fileWith(`${name}: {port: 1}`) })).toBe(false);
    }
  });

  test('with any value in the variables of keys', () => {
    const variables = [
      'OPENAI_API_KEY',
      'OPENAI_API_KEY_FILE',
      'SPILLWAY_API_KEYS',
      'SPILLWAY_ADMIN_KEYS_FILE',
    ];
    const others = ['OPENAI_BASE_URL', 'OLLAMA_HOST', 'HTTPS_PROXY', 'NO_PROXY', 'SPILLWAY_PORTS'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...variables, ...others), text), (env) => {
        load({ env });
        load({ env, flags: { upstream: 'url=https://a.example/v1,proxy=env' } });
      }),
      { numRuns },
    );
  });
});
