import { expect, test } from 'vitest';
import { withModels } from '../src/provider/models/read-models.ts';
import { type RunningGateway, startGateway } from './support/processes.ts';
import { anthropicSdk, geminiSdk, openaiSdk } from './support/sdks.ts';
import { startStrictProvider, type StrictProvider } from './support/strict-provider.ts';

const claude = (id: string): object => ({ type: 'model', id, display_name: id, created_at: '2026-01-01' });

/** The pages of each API's list, by what asks for them. */
const pages: Readonly<Record<string, object>> = {
  openai: { object: 'list', data: [{ id: 'gpt', object: 'model' }] },
  anthropic: { data: [claude('opus')], has_more: true, first_id: 'opus', last_id: 'opus' },
  'anthropic opus': { data: [claude('haiku')], has_more: false, first_id: 'haiku', last_id: 'haiku' },
  gemini: { models: [{ name: 'models/flash' }], nextPageToken: 't' },
  'gemini t': { models: [{ name: 'models/pro' }] },
};

const keys = { all: 'all-key-0123456789abcdef', few: 'few-key-0123456789abcdef' };

/** A gateway with names of models, before a provider that lists its own, or answers lists with an error. */
async function start(isDown = false): Promise<{ gateway: RunningGateway; provider: StrictProvider }> {
  const provider = await startStrictProvider(({ headers, path, query }, response) => {
    const isAnthropic = headers['anthropic-version'] !== undefined;
    const isGemini = headers['x-goog-api-key'] !== undefined;
    const api = isGemini ? 'gemini' : isAnthropic ? 'anthropic' : 'openai';
    const page = [api, query.get('after_id') ?? query.get('pageToken')].filter(Boolean).join(' ');
    const found = path.endsWith('/models') ? pages[page] : undefined;
    response.writeHead(isDown ? 503 : found === undefined ? 404 : 200, {
      'content-type': 'application/json',
    });
    response.end(JSON.stringify(isDown ? {} : (found ?? { error: { message: 'no such model' } })));
  });
  const upstream = ['openai', 'anthropic', 'gemini'].map(
    (api) => `name=${api},api=${api},url=${provider.url}${api === 'openai' ? '/v1' : ''},apiKeyEnv=KEY`,
  );
  const model = 'name=fast,targets=openai/gpt+anthropic/opus+gemini/flash name=deep/one,targets=openai/gpt';
  const gateway = await startGateway(
    ['--upstream', upstream.join(' '), '--model', model, '--tenant', 'name=few,models=deep*'],
    { env: { KEY: 'theirs', SPILLWAY_API_KEYS: `all/a=${keys.all},few/a=${keys.few}` } },
  );
  return { gateway, provider };
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** The names in all pages of each API's list, as its SDK reads them. */
async function listed(url: string, apiKey: string): Promise<Record<string, string[]>> {
  const at = { url, apiKey };
  return {
    openai: (await all(await openaiSdk(at).models.list())).map(({ id }) => id),
    anthropic: (await all(await anthropicSdk(at).models.list())).map(({ id }) => id),
    gemini: (await all(await geminiSdk(at).models.list())).map(({ name = '' }) => name),
  };
}

test('names of one’s own stand before the models of each API, once, to those who may use them', async () => {
  const { gateway, provider } = await start();
  expect(await listed(gateway.url, keys.all)).toEqual({
    openai: ['fast', 'deep/one', 'openai/gpt'],
    anthropic: ['fast', 'opus', 'haiku'],
    gemini: ['models/fast', 'models/flash', 'models/pro'],
  });
  const asked = provider.requests.find(({ headers }) => headers['anthropic-version'] !== undefined);
  expect(asked?.headers['x-api-key']).toBe('theirs');
  expect(await listed(gateway.url, keys.few)).toEqual({
    openai: ['deep/one'],
    anthropic: ['opus', 'haiku'],
    gemini: ['models/flash', 'models/pro'],
  });
});

test('a name of one’s own can be asked for by each API, and its provider is not', async () => {
  const { gateway, provider } = await start();
  const at = { url: gateway.url, apiKey: keys.all };
  expect(await openaiSdk(at).models.retrieve('deep/one')).toMatchObject({ id: 'deep/one', object: 'model' });
  expect(await anthropicSdk(at).models.retrieve('fast')).toMatchObject({ id: 'fast', type: 'model' });
  expect(await geminiSdk(at).models.get({ model: 'fast' })).toMatchObject({ name: 'models/fast' });
  expect(provider.requests).toEqual([]);
  // What is no name of this API, or of this tenant, is the provider's to know.
  await expect(anthropicSdk(at).models.retrieve('deep/one')).rejects.toMatchObject({ status: 404 });
  const few = { url: gateway.url, apiKey: keys.few };
  await expect(openaiSdk(few).models.retrieve('fast')).rejects.toMatchObject({ status: 404 });
  expect(provider.requests.map(({ path }) => path)).toEqual(['/v1/models/deep%2Fone', '/v1/models/fast']);
});

test('names of one’s own are listed where no provider lists its models', async () => {
  const { gateway } = await start(true);
  expect(await listed(gateway.url, keys.all)).toEqual({
    openai: ['fast', 'deep/one'],
    anthropic: ['fast'],
    gemini: ['models/fast'],
  });
  await expect(anthropicSdk({ url: gateway.url, apiKey: keys.few }).models.list()).rejects.toMatchObject({
    status: 503,
  });
});

test.each([
  ['{"data":[{"id":1}],"a":2}', '{"data":[{"x":0},{"id":1}],"a":2}'],
  ['{"a":{"data":[]}, "data" : [ ]}', '{"a":{"data":[]}, "data" : [{"x":0} ]}'],
  ['{"data":{}}', undefined],
  ['[]', undefined],
  ['no JSON', undefined],
])('a list has further models at its beginning, and every byte of its own: %s', (text, expected) => {
  const parts = withModels(Buffer.from(text), 'data', Buffer.from('{"x":0}'));
  expect(parts && Buffer.concat(parts).toString()).toBe(expected);
});

test('the start says the names, and how one is asked for', async () => {
  const { gateway } = await start();
  expect(gateway.stdout()).toContain('  fast   openai/gpt, anthropic/opus, gemini/flash\n');
  expect(gateway.stdout()).toContain('-d \'{"model": "fast", "stream": true');
});
