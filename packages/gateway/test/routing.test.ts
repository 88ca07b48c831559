import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import OpenAI, { toFile } from 'openai';
import { describe, expect, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { linesOf } from './support/log-lines.ts';
import { openRaw } from './support/raw-request.ts';
import { metric } from './support/requests.ts';
import { anthropicSdk, geminiSdk } from './support/sdks.ts';
import { startModels, startStrictProvider, type StrictProvider } from './support/strict-provider.ts';

interface Two {
  readonly gateway: RunningGateway;
  readonly first: StrictProvider;
  readonly second: StrictProvider;
}

/** Two providers of one API, each with a model of its own. */
async function startTwo(args: readonly string[] = [], tail = '/v1', api = 'openai'): Promise<Two> {
  const first = await startModels('first', ['m1', 'whisper-1', 'gpt-image-1']);
  const second = await startModels('second', ['m2', 'whisper-2', 'gpt-image-2']);
  const upstreams = [
    `name=first,api=${api},url=${first.url}${tail}`,
    `name=second,api=${api},url=${second.url}${tail}`,
  ];
  const gateway = await startGateway(['--upstream', upstreams.join(' '), ...args]);
  return { gateway, first, second };
}

interface Answered {
  readonly status: number;
  readonly name?: string;
  readonly model?: string | null;
  readonly error?: { readonly message: string; readonly code: string | null };
}

async function post(
  url: string,
  body: Buffer | FormData | string,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const sent = Buffer.isBuffer(body) ? new Uint8Array(body) : body;
  const response = await fetch(url, { method: 'POST', headers, body: sent });
  return { status: response.status, ...((await response.json()) as object) };
}

/** What is held of bodies, once there is nothing to wait for. */
async function nothingHeld({ adminUrl }: RunningGateway): Promise<void> {
  await eventually(
    async () => (await metric(adminUrl, 'spillway_requests_held_bytes')) === 0,
    'no body to be held',
  );
}

const recording = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * index) % 251));

/** A file of somebody: the provider for which it is meant takes no other. */
function fileFor(name: string): Blob {
  return new Blob([name, recording]);
}

function form(entries: readonly (readonly [string, Blob | string])[]): FormData {
  const data = new FormData();
  for (const [key, value] of entries) {
    if (typeof value === 'string') data.append(key, value);
    else data.append(key, value, 'model.wav');
  }
  return data;
}

describe('1.1 the model of a form', () => {
  const places = {
    first: (model: string, file: Blob) =>
      [
        ['model', model],
        ['file', file],
        ['language', 'de'],
      ] as const,
    'in the middle': (model: string, file: Blob) =>
      [
        ['language', 'de'],
        ['model', model],
        ['file', file],
      ] as const,
    last: (model: string, file: Blob) =>
      [
        ['file', file],
        ['language', 'de'],
        ['model', model],
      ] as const,
  };

  test.each(Object.entries(places))('%s: decides who gets the recording', async (_place, entries) => {
    const { first, gateway, second } = await startTwo();
    const url = `${gateway.url}/v1/audio/transcriptions`;
    const toSecond = await post(url, form(entries('second/whisper-2', fileFor('second'))));
    expect(toSecond).toMatchObject({ status: 200, name: 'second', model: 'whisper-2' });
    const toFirst = await post(url, form(entries('first/whisper-1', fileFor('first'))));
    expect(toFirst).toMatchObject({ status: 200, name: 'first', model: 'whisper-1' });
    // As in JSON: a name without a provider's goes to the first as it is.
    expect(await post(url, form(entries('whisper-1', fileFor('first'))))).toMatchObject({ name: 'first' });
    expect(await post(url, form(entries('third/x', fileFor('first'))))).toMatchObject({ status: 404 });
    expect([first.requests.length, second.requests.length]).toEqual([3, 1]);
    expect(first.requests[2]?.fields['model']).toBe('third/x');
    expect(second.requests[0]?.fields).toMatchObject({ language: 'de' });
    await nothingHeld(gateway);
  });

  test('has a prefix of nobody: the first provider gets it, and the operator hears of it', async () => {
    const { gateway } = await startTwo();
    const url = `${gateway.url}/v1/chat/completions`;
    const counted = (): Promise<number> => metric(gateway.adminUrl, 'spillway_models_unknown_prefix_total');
    const json = { 'content-type': 'application/json' };
    expect(await post(url, '{"model":"second/m2"}', json)).toMatchObject({ name: 'second' });
    expect(await post(url, '{"model":"m1"}', json)).toMatchObject({ name: 'first' });
    expect(await counted()).toBe(0);
    expect(await post(url, '{"model":"secnod/m2"}', json)).toMatchObject({ status: 404 });
    expect(await counted()).toBe(1);
    const isSaid = (): boolean => linesOf(gateway, 'stream ended').length === 3;
    await eventually(isSaid, 'three lines');
    const said = linesOf(gateway, 'stream ended').map(({ model, provider, unknownPrefix }) => [
      model,
      provider,
      unknownPrefix,
    ]);
    expect(said).toEqual([
      ['second/m2', 'second', undefined],
      ['m1', 'first', undefined],
      ['secnod/m2', 'first', true],
    ]);
  });

  test('is missing: the first provider gets it, byte for byte', async () => {
    const { first, gateway, second } = await startTwo();
    const bytes = Buffer.from(await new Response(form([['file', fileFor('first')]])).bytes());
    const boundary = /^--(.+)\r\n/.exec(bytes.toString('latin1'))?.[1] ?? '';
    const type = { 'content-type': `multipart/form-data; boundary=${boundary}` };
    expect(await post(`${gateway.url}/v1/audio/transcriptions`, bytes, type)).toMatchObject({
      name: 'first',
    });
    expect(first.requests[0]?.bytes.equals(bytes)).toBe(true);
    expect(second.requests).toHaveLength(0);
  });

  test('stands there twice: nobody gets it, since nobody knows whose it is', async () => {
    const { first, gateway, second } = await startTwo();
    const entries = [
      ['model', 'first/m1'],
      ['file', fileFor('second')],
      ['model', 'second/m2'],
    ] as const;
    const refused = await post(`${gateway.url}/v1/audio/transcriptions`, form(entries));
    expect(refused).toMatchObject({ status: 400, error: { message: 'model: expected one, got several.' } });
    expect([first.requests.length, second.requests.length]).toEqual([0, 0]);
    await nothingHeld(gateway);
  });

  test('is found by the official SDK of OpenAI: transcriptions, translations, edits of pictures', async () => {
    const { gateway, first, second } = await startTwo();
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'k', maxRetries: 0 });
    for (const [name, number] of [
      ['second', 2],
      ['first', 1],
    ] as const) {
      const file = await toFile(fileFor(name), 'recording.wav');
      const model = `${name}/whisper-${number}`;
      expect((await openai.audio.transcriptions.create({ model, file })).text).toBe(`by ${name}`);
      expect((await openai.audio.translations.create({ file, model })).text).toBe(`by ${name}`);
      const image = await toFile(fileFor(name), 'picture.png', { type: 'image/png' });
      await openai.images.edit({ image, prompt: 'Brighter', model: `${name}/gpt-image-${number}` });
    }
    expect(first.requests.map(({ fields }) => fields['model'])).toEqual([
      'whisper-1',
      'whisper-1',
      'gpt-image-1',
    ]);
    expect(second.requests.map(({ fields }) => fields['model'])).toEqual([
      'whisper-2',
      'whisper-2',
      'gpt-image-2',
    ]);
  });
});

describe('1.1 the model of a body with a content coding', () => {
  const codings = [
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
  ] as const;

  test.each(codings)('%s: decides who gets it', async (coding, compress) => {
    const { first, gateway, second } = await startTwo();
    const headers = { 'content-type': 'application/json', 'content-encoding': coding };
    const long = 'a prompt of some length, '.repeat(20_000);
    for (const path of ['/v1/responses', '/v1/chat/completions', '/v1/embeddings']) {
      for (const place of [
        { model: 'second/m2', input: long },
        { input: long, model: 'second/m2' },
      ]) {
        const answer = await post(gateway.url + path, compress(Buffer.from(JSON.stringify(place))), headers);
        expect(answer).toMatchObject({ status: 200, name: 'second', model: 'm2' });
      }
    }
    expect(second.requests.at(-1)?.fields).toEqual({ input: long, model: 'm2' });
    expect(first.requests).toHaveLength(0);
    await nothingHeld(gateway);
  });

  test.each(codings)('%s: is sent on as it came where no prefix has to go', async (coding, compress) => {
    const { first, gateway } = await startTwo();
    const headers = { 'content-type': 'application/json', 'content-encoding': coding };
    for (const model of ['m1', undefined]) {
      const bytes = compress(Buffer.from(JSON.stringify({ model, input: 'x'.repeat(100_000) })));
      expect(await post(`${gateway.url}/v1/responses`, bytes, headers)).toMatchObject({ name: 'first' });
      expect(first.requests.at(-1)?.bytes.equals(bytes)).toBe(true);
      expect(first.requests.at(-1)?.headers['content-encoding']).toBe(coding);
    }
  });

  test('a form, too', async () => {
    const { gateway } = await startTwo();
    const data = new Response(
      form([
        ['file', fileFor('second')],
        ['model', 'second/whisper-2'],
      ]),
    );
    const contentType = data.headers.get('content-type') ?? '';
    const headers = { 'content-type': contentType, 'content-encoding': 'gzip' };
    const bytes = gzipSync(await data.bytes());
    const answer = await post(`${gateway.url}/v1/audio/transcriptions`, bytes, headers);
    expect(answer).toMatchObject({ status: 200, name: 'second', model: 'whisper-2' });
  });

  test.each([
    ['is none', 'gzip', Buffer.from('{"model":"second/m2"}'), 400, 'invalid_request'],
    ['is cut', 'gzip', gzipSync('{"model":"second/m2"}').subarray(0, -9), 400, 'invalid_request'],
    ['is cut', 'zstd', zstdCompressSync('{"model":"second/m2"}').subarray(0, -4), 400, 'invalid_request'],
    [
      'is cut',
      'br',
      brotliCompressSync(`{"model":"second/m2${' '.repeat(99)}"}`).subarray(0, -4),
      400,
      'invalid_request',
    ],
    ['has a prompt that is no JSON', 'gzip', gzipSync('{"secret prompt'), 400, 'invalid_request'],
  ])('%s: %s is refused', async (_what, coding, bytes, status, code) => {
    const { first, gateway, second } = await startTwo();
    const headers = { 'content-type': 'application/json', 'content-encoding': coding };
    const refused = await post(`${gateway.url}/v1/chat/completions`, bytes, headers);
    expect(refused).toMatchObject({ status, error: { code } });
    expect(JSON.stringify(refused) + gateway.stderr()).not.toContain('secret prompt');
    expect([first.requests.length, second.requests.length]).toEqual([0, 0]);
    await nothingHeld(gateway);
  });

  test('promise 6: a client that leaves while its request is decoded is noticed: nobody is asked for it', async () => {
    const stays = Promise.withResolvers<void>();
    let isAsked = 0;
    const provider = await startStrictProvider((_request, response) => {
      isAsked += 1;
      response.once('close', () => stays.resolve());
    });
    const gateway = await startGateway(['--upstream', `${provider.url}/v1`]);
    const bytes = gzipSync(`{"x":"${'x'.repeat(20_000_000)}","model":"m"}`);
    const headers = { 'content-encoding': 'gzip', 'content-length': String(bytes.length) };
    for (let count = 0; count < 5; count += 1) {
      const client = await openRaw(gateway.url, headers);
      client.socket.end(bytes);
      await client.closed();
    }
    await nothingHeld(gateway);
    // Who was asked before it was known has to hear of it.
    if (isAsked > 0) await stays.promise;
    expect(await metric(gateway.adminUrl, 'spillway_streams{state="opening"}')).toBe(0);
    expect(gateway.stderr()).not.toContain('"level":50');
  });

  test('one that the gateway does not know is the first provider’s to refuse', async () => {
    const { gateway } = await startTwo();
    const headers = { 'content-type': 'application/json', 'content-encoding': 'compress' };
    const refused = await post(`${gateway.url}/v1/chat/completions`, '{}', headers);
    expect(refused).toMatchObject({
      status: 415,
      error: { message: 'unsupported content encoding compress' },
    });
  });

  test.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ] as const)('promise 1: a bomb is bounded, and counted as it comes out: %s', async (coding, compress) => {
    const { gateway } = await startTwo([
      '--max-request-bytes',
      '2000000',
      '--max-request-memory-bytes',
      '12000000',
    ]);
    const bomb = (bytes: number): Buffer =>
      compress(Buffer.from(`{"model":"m1","x":"${'x'.repeat(bytes)}"}`));
    const headers = { 'content-type': 'application/json', 'content-encoding': coding };
    const url = `${gateway.url}/v1/responses`;
    expect(await post(url, bomb(1_900_000), headers)).toMatchObject({ status: 200, name: 'first' });
    const tooLarge = { status: 413, error: { code: 'request_too_large' } };
    expect(await post(url, bomb(2_000_000), headers)).toMatchObject(tooLarge);
    expect(await post(url, bomb(60_000_000), headers)).toMatchObject(tooLarge);
    await nothingHeld(gateway);
    const small = await startTwo(['--max-request-bytes', '2000000', '--max-request-memory-bytes', '3000000']);
    // It fits by itself, but not together with what it takes to decode it.
    const noRoom = { status: 503, error: { code: 'overloaded' } };
    expect(await post(`${small.gateway.url}/v1/responses`, bomb(1_900_000), headers)).toMatchObject(noRoom);
    await nothingHeld(small.gateway);
  });
});

describe('1.1 what names no model', () => {
  test.each([
    ['a stored prompt', '/v1/responses', 'application/json', '{"prompt":{"id":"pmpt_1"},"input":"x"}'],
    ['a list', '/v1/chat/completions', 'application/json', '{"models":["a/b","c/d"]}'],
    ['a byte order mark', '/v1/completions', 'application/json', '\ufeff{"prompt":"x"}'],
    ['no body', '/v1/chat/completions', 'application/json', ''],
    ['another type', '/v1/chat/completions', 'text/plain', 'Hello'],
  ])('%s: the first provider gets it as it is', async (_what, path, contentType, text) => {
    const { first, gateway, second } = await startTwo();
    expect(await post(gateway.url + path, text, { 'content-type': contentType })).toMatchObject({
      status: 200,
      name: 'first',
    });
    expect(first.requests[0]?.bytes.toString()).toBe(text);
    expect(first.requests[0]?.headers['content-type']).toBe(contentType);
    expect(second.requests).toHaveLength(0);
  });

  test('a byte order mark hides no model', async () => {
    const { gateway } = await startTwo();
    const headers = { 'content-type': 'application/json' };
    const answer = await post(
      `${gateway.url}/v1/responses`,
      '\ufeff{"input":"x","model":"second/m2"}',
      headers,
    );
    expect(answer).toMatchObject({ status: 200, name: 'second', model: 'm2' });
  });
});

describe('a request for events in a spelling that only the provider knows', () => {
  test.each(['1', '"true"', 'true'])(
    '2.6 stream: %s: gets events, and comments between them',
    async (stream) => {
      const gone = Promise.withResolvers<void>();
      const provider = await startStrictProvider(({ fields }, response) => {
        expect([1, 'true', true]).toContain(fields['stream']);
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n');
        void gone.promise.then(() => response.end('data: [DONE]\n\n'));
      });
      const gateway = await startGateway(['--upstream', `${provider.url}/v1`, '--keep-alive-ms', '100']);
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"model":"m","stream":${stream}}`,
      });
      let text = '';
      const reading = (async () => {
        for await (const bytes of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
          text += bytes;
          if (text.includes(': ping')) gone.resolve();
        }
      })();
      await within(reading, 'a comment, and the end behind it');
      expect(text).toMatch(/"Hi"[^]*: ping\n\n[^]*data: \[DONE\]\n\n$/);
    },
  );

  test('2.6 gets no comment before the answer, which may be none', async () => {
    const provider = await startStrictProvider((_request, response) => {
      setTimeout(
        () =>
          response.writeHead(422, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}'),
        500,
      );
    });
    const gateway = await startGateway(['--upstream', `${provider.url}/v1`, '--keep-alive-ms', '100']);
    const headers = { 'content-type': 'application/json' };
    const refused = await post(`${gateway.url}/v1/chat/completions`, '{"model":"m","stream":1}', headers);
    expect(refused).toMatchObject({ status: 422, error: { message: 'no' } });
  });
});

describe('1.1 the other official SDKs name one of two providers', () => {
  test('of Anthropic', async () => {
    const { gateway, second } = await startTwo([], '', 'anthropic');
    const sdk = anthropicSdk({ url: gateway.url, apiKey: 'k' });
    await sdk.messages.create({
      model: 'second/m2',
      max_tokens: 1,
      messages: [{ role: 'user', content: 'x' }],
    });
    await sdk.messages.countTokens({ model: 'second/m2', messages: [{ role: 'user', content: 'x' }] });
    expect(second.requests.map(({ path, fields }) => [path, fields['model']])).toEqual([
      ['/v1/messages', 'm2'],
      ['/v1/messages/count_tokens', 'm2'],
    ]);
  });

  test('of Google', async () => {
    const { first, gateway, second } = await startTwo([], '', 'gemini');
    const sdk = geminiSdk({ url: gateway.url, apiKey: 'k' });
    await sdk.models.generateContent({ model: 'second/m2', contents: 'x' });
    await sdk.models.countTokens({ model: 'second/m2', contents: 'x' });
    expect(second.requests.map(({ path }) => path)).toEqual([
      '/v1/models/m2:generateContent',
      '/v1/models/m2:countTokens',
    ]);
    expect(first.requests).toHaveLength(0);
  });
});
