import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { adviceFor } from '../src/config/advice.ts';
import { ConfigError } from '../src/config/config-error.ts';
import { loadSettings, type Settings } from '../src/config/load.ts';
import { configAsYaml } from '../src/cli/show-config.ts';
import { keysFile } from './support/keys-file.ts';

interface Sources {
  readonly flags?: Record<string, unknown>;
  readonly env?: Record<string, string>;
  readonly yaml?: string;
}

function load({ env = {}, flags = {}, yaml }: Sources): Settings {
  const file = yaml === undefined ? undefined : { path: 'spillway.yaml', text: yaml };
  return loadSettings({ flags, env, file });
}

function problemOf(sources: Sources): string {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('the settings are valid');
}

function adviceOf(sources: Sources): [string, string][] {
  const { env = {} } = sources;
  const advice = adviceFor(load(sources), env, []);
  return advice.flatMap(({ code, message }): [string, string][] =>
    code.startsWith('limit') ? [[code, message]] : [],
  );
}

const yaml = `
tenant:
  - name: clinic
    tokensPerDay: 200000
    costPerDay: 12.10
    streams: 20
    requests: 10/s burst 20
    models: ['openai/*', 'claude']
    priority: high
    answerMs: 2m
    userRequests: 60/min
    sessionTokens: 5000
  - name: '*'
    tokensPerMinute: 1000
price:
  - { model: 'gpt-4o*', input: 2.50, output: 10 }
  - { model: 'gpt-4o*', input: 2, output: 8.000001, since: 2026-07-01 }
  - { model: '*', input: 0.1, output: 0.3 }
`;
const text = {
  SPILLWAY_TENANT:
    'name=clinic,tokensPerDay=200000,costPerDay=12.10,streams=20,requests=10/s+burst+20,models=openai/*+claude,priority=high,answerMs=2m,userRequests=60/min,sessionTokens=5000 name=*,tokensPerMinute=1000',
  SPILLWAY_PRICE:
    'model=gpt-4o*,input=2.50,output=10 model=gpt-4o*,input=2,output=8.000001,since=2026-07-01 model=*,input=0.1,output=0.3',
};

describe('limits', () => {
  test('without a word of them there are none', () => {
    expect(load({}).limits).toBeUndefined();
    expect(load({ env: { SPILLWAY_API_KEYS: 'clinic/front=a' } }).limits).toBeUndefined();
  });

  test('are the same in the file, in the environment and in flags', () => {
    const { limits } = load({ yaml });
    expect(load({ env: text }).limits).toEqual(limits);
    expect(load({ flags: { tenant: text.SPILLWAY_TENANT, price: text.SPILLWAY_PRICE } }).limits).toEqual(
      limits,
    );
    // A space in a value is no end of its entry.
    const spaced = text.SPILLWAY_TENANT.replace('10/s+burst+20', '10/s burst 20')
      .replace('openai/*+claude', 'openai/* claude')
      .replace(' name=*', '\n  name=*');
    expect(load({ flags: { tenant: spaced, price: text.SPILLWAY_PRICE } }).limits).toEqual(limits);
    expect(limits?.tenants).toEqual(
      new Map([
        [
          'clinic',
          {
            tokensPerDay: 200_000,
            costPerDay: 12_100_000,
            streams: 20,
            requests: { perSecond: 10, burst: 20 },
            models: ['openai/*', 'claude'],
            priority: 'high',
            answer: { ms: 120_000 },
            user: { requests: { perSecond: 1, burst: 60 } },
            session: { tokens: 5000 },
          },
        ],
      ]),
    );
    expect(limits?.others).toEqual({
      tokensPerMinute: 1000,
      models: undefined,
      priority: 'normal',
      answer: {},
      user: {},
      session: {},
    });
  });

  test('have prices of speech, which are none of tokens', () => {
    const price =
      'model=deepgram/*,minute=0.0043 model=tts,characters=15,since=2026-01-31 model=a,input=1,output=2';
    expect(load({ flags: { price } }).limits).toMatchObject({
      prices: [{ model: 'a', sinceMs: 0, input: 1_000_000, output: 2_000_000 }],
      speechPrices: [
        { model: 'deepgram/*', sinceMs: 0, minute: 4300, characters: undefined },
        { model: 'tts', sinceMs: Date.UTC(2026, 0, 31), minute: undefined, characters: 15_000_000 },
      ],
    });
  });

  test('have prices in millionths, of one model the newest first', () => {
    expect(load({ yaml }).limits?.prices).toEqual([
      { model: 'gpt-4o*', input: 2_000_000, output: 8_000_001, sinceMs: Date.UTC(2026, 6, 1) },
      { model: 'gpt-4o*', input: 2_500_000, output: 10_000_000, sinceMs: 0 },
      { model: '*', input: 100_000, output: 300_000, sinceMs: 0 },
    ]);
  });

  test('are printed as settings that mean the same', () => {
    const settings = load({ yaml });
    const again = load({ yaml: configAsYaml(settings, [], {}) });
    expect(again.limits).toEqual(settings.limits);
    expect(again.config).toEqual(settings.config);
  });

  test('name users and conversations in headers and bodies', () => {
    const { limits } = load({ yaml, env: { SPILLWAY_USER_FROM: 'header:X-User,body:a.b' } });
    expect(limits?.userFrom).toEqual([
      { kind: 'header', name: 'x-user' },
      { kind: 'body', path: ['a', 'b'] },
    ]);
    expect(limits?.sessionFrom[0]).toEqual({ kind: 'header', name: 'spillway-session' });
  });

  test('come from keys, too', () => {
    const path = keysFile(
      `clinic/front sha256:${'a'.repeat(64)} streams=2 requests=5/s+burst+9 costPerDay=1.5\n`,
    );
    const { apiKeys, limits } = load({ flags: { apiKeysFile: path } });
    expect(limits?.keys).toEqual(
      new Map([
        ['clinic/front', { streams: 2, requests: { perSecond: 5, burst: 9 }, costPerDay: 1_500_000 }],
      ]),
    );
    expect(apiKeys).toMatchObject([{ name: 'clinic/front', tenant: 'clinic', limits: { streams: 2 } }]);
  });

  test('have a store, with a password that stands elsewhere and is not printed', () => {
    const env = { REDIS_PASSWORD: 'hush: hush', SPILLWAY_LIMIT_STORE: 'redis+sentinel://a:1,b:2/main' };
    const settings = load({ yaml: `${yaml}limitStorePasswordEnv: REDIS_PASSWORD`, env });
    expect(settings.limits).toMatchObject({
      store: 'redis+sentinel://a:1,b:2/main',
      storePassword: 'hush: hush',
      whenStoreFails: 'closed',
    });
    expect(configAsYaml(settings, [], env)).not.toContain('hush');
    const path = keysFile('from a file\n');
    const flags = { limitStore: 'rediss://h', limitStorePasswordFile: path };
    expect(load({ yaml, flags }).limits?.storePassword).toBe('from a file');
  });

  test('keys have a store, which may be that of limits, and are needed then', () => {
    const env = { REDIS_PASSWORD: 'hush: hush' };
    const open = 'host: 0.0.0.0\nsimulated: true\n';
    const named = `${open}limitStore: redis://h:1\nlimitStorePasswordEnv: REDIS_PASSWORD\napiKeysStore: limitStore`;
    const same = load({ yaml: named, env });
    expect(same.keyStore).toEqual({ url: 'redis://h:1', password: 'hush: hush' });
    expect(configAsYaml(same, [], env)).toContain('# Keys of clients: those in redis://h:1');
    expect(adviceFor(same, env, []).map(({ code }) => code)).toEqual(['simulated_models']);
    const path = keysFile('from a file\n');
    const own = load({ yaml: `${open}apiKeysStore: rediss://h\napiKeysStorePasswordFile: ${path}` });
    expect(own.keyStore).toEqual({ url: 'rediss://h', password: 'from a file' });
    expect(load({ yaml: 'limitStore: redis://h' }).keyStore).toBeUndefined();
    const store = 'apiKeysStore: redis://h\n';
    const problems: [string, string][] = [
      ['apiKeysStore: file:keys', 'apiKeysStore (spillway.yaml:1): expected redis://HOST:PORT'],
      [
        'apiKeysStore: redis://:hush@h',
        '(a password goes into apiKeysStorePasswordEnv or apiKeysStorePasswordFile)',
      ],
      ['apiKeysStore: limitStore\nlimitStore: file:a', 'limitStore, which it names, got a file'],
      ['apiKeysStorePasswordEnv: HOME', 'in apiKeysStore beside it, got none'],
      [`${named}\napiKeysStorePasswordEnv: HOME`, 'got the word limitStore, whose password it has'],
      [
        `${store}apiKeysStorePasswordEnv: HOME\napiKeysStorePasswordFile: a`,
        'expected apiKeysStorePasswordEnv or apiKeysStorePasswordFile, got both',
      ],
      [
        `${store}apiKeysStorePasswordEnv: NONE`,
        'apiKeysStore: expected the password in the environment variable NONE',
      ],
    ];
    for (const [wrong, message] of problems) {
      const problem = problemOf({ yaml: wrong, env });
      expect(problem).toContain(message);
      expect(problem).not.toContain('hush');
    }
  });

  test('of the example are valid, and its prices are marked as examples', () => {
    const example = readFileSync(join(import.meta.dirname, '../../../examples/limits.yaml'), 'utf8');
    const { limits } = load({ yaml: example });
    expect([...(limits?.tenants.keys() ?? [])]).toEqual(['clinic']);
    expect(limits?.prices).toHaveLength(3);
    expect(example).toContain('EXAMPLES');
  });
});

describe('what is wrong is said with its place', () => {
  test.each([
    [
      'tenant: [{ name: clinic, streams: 0 }]',
      'tenant.clinic.streams (spillway.yaml:1): expected a whole number from 1 to 1000000, got 0',
    ],
    [
      'tenant:\n  - name: clinic\n    tokenPerDay: 5',
      'tenant.clinic.tokenPerDay: unknown setting (spillway.yaml:3); did you mean tokensPerDay?',
    ],
    [
      'tenant: name=*,requests=5',
      'tenant.*.requests (spillway.yaml:1): expected requests in a time, as 10/s, 600/min or 10/s burst 20, with numbers from 1 to 1000000, got "5"',
    ],
    ['tenant: name=a,requests=0/s', 'got "0/s"'],
    [
      'tenant: name=a,costPerDay=1.2345678',
      'expected an amount, as 12.50, with at most six digits behind the point, got "1.2345678"',
    ],
    ['tenant: name=a,costPerDay=1e3', 'got "1e3"'],
    ['tenant: name=a,costPerDay=0', 'expected an amount above 0'],
    ['tenant: name=a,priority=urgent', 'tenant.a.priority'],
    ['tenant: name=A', 'expected the name of a tenant, of lower-case letters'],
    [
      'tenant: streams=1',
      'tenant.0.name (spillway.yaml:1): expected the name of a tenant, in a text as name=clinic,streams=20, got nothing',
    ],
    [
      'tenant: clinic requests=1/s burst 2',
      'tenant.1.name (spillway.yaml:1): expected the name of a tenant, in a text as name=clinic,streams=20, got nothing',
    ],
    ['tenant: name=a,requests=1/s bursts 2', 'got "1/s bursts 2"'],
    ['tenant: name=a,tokensPerDay=1000 streams', 'got "1000 streams"'],
    ['tenant: name=a name=a', 'expected a different name for each, got one twice'],
    [
      'tenant: name=a,tokensPerDay=255',
      'tenant.a.tokensPerDay (spillway.yaml): expected at least minAnswerTokens (256), without which no request starts, got 255',
    ],
    [
      'price: model=a,input=1',
      'price.0.output (spillway.yaml:1): expected input and output, got one of them',
    ],
    ['price: model=a', 'price.0.input (spillway.yaml:1): expected input and output, minute or characters'],
    ['price: model=a,minute=-1', 'got "-1"'],
    ['price: model=a,input=1,output=1,since=2026-02-30', 'expected a day, as 2026-01-31, got "2026-02-30"'],
    [
      'price: model=a,input=1,output=1 model=a,input=2,output=2',
      'expected each model once from a day on, got one twice',
    ],
    ['price: model=a,input=-1,output=1', 'got "-1"'],
    ['currency: usd', 'currency (spillway.yaml:1): expected three capital letters, as USD, got "usd"'],
    [
      'userFrom: user',
      'expected header:NAME, or body:NAME with points between the names on the way, got "user"',
    ],
    ['limitStore: memcached://a', 'expected file:PATH, redis://HOST:PORT'],
    [
      'limitStore: redis://h\nlimitStorePasswordEnv: NONE',
      'limitStore: expected the password in the environment variable NONE (limitStorePasswordEnv), got nothing',
    ],
    [
      'limitStore: file:a\nlimitStorePasswordEnv: HOME',
      'limitStorePasswordEnv (spillway.yaml): expected the URL of a Redis in limitStore beside it, got a file',
    ],
    [
      'limitStorePassword: hush',
      'name an environment variable in limitStorePasswordEnv or a file in limitStorePasswordFile',
    ],
    ['limitStoreFails: open', 'limitStoreFails: unknown setting'],
  ])('%s', (wrong, message) => {
    expect(problemOf({ yaml: wrong })).toContain(message);
  });

  test('a password in the URL of the store is refused, and not printed', () => {
    const problem = problemOf({ flags: { limitStore: 'redis://user:hush@host:1' } });
    expect(problem).toContain('(a password goes into limitStorePasswordEnv or limitStorePasswordFile)');
    expect(problem).not.toContain('hush');
    for (const url of [
      'redis://h:1/0?password=hush',
      'redis://user:hu/sh@host:1',
      'redis://:hush@h',
      'redis://h#hush',
    ])
      expect(problemOf({ flags: { limitStore: url } })).toContain('limitStorePasswordEnv');
    expect(load({ flags: { limitStore: 'redis://user@host:1' } }).config.limitStore).toBe(
      'redis://user@host:1',
    );
  });

  test.each([
    ['streams=x', 'line 2: streams: expected a whole number from 1 to 1000000, got something else'],
    ['expires=soon', 'expires: expected a day or a time by UTC, as 2026-12-31 or 2026-12-31T12:00:00Z'],
    ['sk-secret', 'behind the digest, each once as KEY=VALUE with + for a space in it, got something else'],
    ['sk-secret=4', 'behind the digest, each once as KEY=VALUE with + for a space in it, got something else'],
    ['streams=1 streams=2', 'each once'],
    ['__proto__=1', 'behind the digest'],
  ])('a line of keys with %s', (words, message) => {
    const path = keysFile(`# keys\nclinic/front sha256:${'a'.repeat(64)} ${words}\n`);
    const problem = problemOf({ flags: { apiKeysFile: path } });
    expect(problem).toContain(message);
    expect(problem).not.toContain('sk-secret');
  });

  test('keys of one name have the same limits, or say nothing of them', () => {
    const line = (digit: string, words: string): string => `a/b sha256:${digit.repeat(64)} ${words}\n`;
    const load2 = (...lines: string[]): Sources => ({ flags: { apiKeysFile: keysFile(lines.join('')) } });
    expect(problemOf(load2(line('1', 'streams=2'), line('2', 'streams=3')))).toContain(
      'line 2: expected the limits of apiKeysFile',
    );
    expect(load(load2(line('1', ''), line('2', 'streams=3'))).limits?.keys.size).toBe(1);
    expect(
      load(load2(line('1', 'streams=2 revoked=2026-01-01'), line('2', 'streams=3'))).limits?.keys,
    ).toEqual(new Map([['a/b', { streams: 3 }]]));
  });
});

describe('a key in two places', () => {
  test('is revoked, expired and limited as either of them says', () => {
    const digest = createHash('sha256').update('sk-a').digest('hex');
    const file = (words: string): Sources => ({
      env: { SPILLWAY_API_KEYS: 'a/b=sk-a' },
      flags: { apiKeysFile: keysFile(`a/b sha256:${digest} ${words}\n`) },
    });
    const { apiKeys, limits } = load(file('revoked=2026-02-01T00:00:00Z expires=2026-01-31 streams=2'));
    expect(apiKeys).toMatchObject([
      { name: 'a/b', revokedMs: Date.UTC(2026, 1, 1), expiresMs: Date.UTC(2026, 1, 1) },
    ]);
    expect(limits?.keys).toEqual(new Map([['a/b', { streams: 2 }]]));
  });
});

describe('advice on what is valid and may not be meant', () => {
  const keys = { SPILLWAY_API_KEYS: 'clinic/front=a' };
  test.each([
    [
      'tenant: name=clinic,costPerDay=5',
      'limit_unpriced',
      'The limit of cost of the tenant clinic refuses every model: there is no price (price).',
    ],
    [
      'tenant: name=clinic,costPerDay=5,models=a+b\nprice: model=a,input=1,output=1',
      'limit_unpriced',
      'Of the models of the tenant clinic, b may have no price',
    ],
    [
      'upstream: name=a,url=http://h/v1 name=b,url=http://h/v1\nmodel: name=fast,targets=a/x,fallback=b/y name=whole,targets=a/x\n' +
        'tenant: name=clinic,costPerDay=5,models=fast+whole+bare\nprice: model=a/x,input=1,output=1',
      'limit_unpriced',
      'Of the models of the tenant clinic, bare, fast (by b/y) may have no price',
    ],
    [
      'upstream: name=a,url=http://h/v1\nmodel: name=fast,targets=a/x\n' +
        'tenant: name=clinic,costPerDay=5\nprice: model=a/z,input=1,output=1',
      'limit_unpriced',
      'Of the models of the tenant clinic, fast (by a/x) may have no price',
    ],
    [
      'tenant: name=clinik,streams=5',
      'limit_unused',
      'Limits of tenants are not used (clinik): no key of a client belongs to them.',
    ],
    [
      'price: model=*,input=1,output=1 model=a,input=1,output=1',
      'limit_unused',
      'The price of a is not used: that of * stands before it',
    ],
    [
      'tenant: name=clinic,userStreams=5\nuserFrom: []',
      'limit_unused',
      'Limits of end users are not used: userFrom',
    ],
    [
      'tenant: name=clinic,sessionTokens=500\nsessionFrom: []',
      'limit_unused',
      'Limits of conversations are not used: sessionFrom',
    ],
    [
      'tenant: name=clinic,answerTokens=100\nupstream: name=local,api=ollama,url=http://127.0.0.1:11434',
      'limit_uncounted',
      "Tokens of answers of Ollama's own API are not counted (local)",
    ],
    [
      'tenant: name=clinic,userTokensPerDay=5000\nupstream: name=local,api=ollama,url=http://127.0.0.1:11434',
      'limit_uncounted',
      'count its prompts alone there',
    ],
    ['limitStore: file:limits.json', 'limit_unused', 'limitStore is not used'],
    [
      'tenant: name=clinic,costPerDay=0.001\nprice: model=*,input=1,output=5\ncurrency: EUR',
      'limit_never_met',
      'No request of the tenant clinic for a model with a price starts: it may use 0.001 EUR, and 256 tokens of an answer (minAnswerTokens) cost at least 0.00128 EUR.',
    ],
  ])('%s', (settings, code, message) => {
    expect(adviceOf({ yaml: settings, env: keys })).toEqual([[code, expect.stringContaining(message)]]);
  });

  test('tenants without keys, and keys that never start', () => {
    expect(adviceOf({ yaml: 'tenant: name=a,streams=1' })).toEqual([
      ['limit_unused', expect.stringContaining('without keys of clients all of them are one')],
    ]);
    const path = keysFile(`clinic/front sha256:${'a'.repeat(64)} tokensPerDay=100\n`);
    expect(adviceOf({ flags: { apiKeysFile: path } })).toEqual([
      ['limit_never_met', expect.stringContaining('No request of the key clinic/front starts')],
    ]);
  });

  test('nothing where all is used', () => {
    expect(adviceOf({ yaml, env: keys })).toEqual([]);
    const own =
      'upstream: name=a,url=http://h/v1\nmodel: name=fast,targets=a/x name=own,targets=a/y\n' +
      'tenant: name=clinic,costPerDay=5,models=fast+own\nprice: model=x,input=1,output=1 model=own,input=1,output=1';
    expect(adviceOf({ yaml: own, env: keys })).toEqual([]);
    const local = 'tenant: name=clinic,streams=2\nupstream: name=local,api=ollama,url=http://127.0.0.1:11434';
    expect(adviceOf({ yaml: local, env: keys })).toEqual([]);
  });
});
