import { describe, expect, test } from 'vitest';
import { type Api, apiNames } from '../src/api.ts';
import type { Provider } from '../src/config/provider.ts';
import { ReceivedBody } from '../src/http/received-body.ts';
import {
  bodyWith,
  type IncomingRequest,
  readRelayRequest,
  type RelayRequest,
} from '../src/relay/relay-request.ts';
import { modelEdit, openScanner } from '../src/http/request-body.ts';
import { findRoute, type Route } from '../src/http/route.ts';
import type { Method } from '../src/source/reply.ts';

function provider(name: string, api: Api): Provider {
  return { name, api, url: `http://${name}/v1`, apiKey: undefined, detach: undefined };
}

const providers = apiNames.flatMap((api) => ['first', 'second'].map((name) => provider(name, api)));
const served = { providers, models: [] };

function read(
  url: string,
  text: string | null,
  { method = 'POST', contentType = 'application/json' }: { method?: Method; contentType?: string } = {},
): RelayRequest {
  const route = findRoute(method, url, {});
  const body = text === null ? null : ReceivedBody.whole(Buffer.from(text), openScanner(route, contentType));
  return readRelayRequest({ route, method, contentType, body }, served);
}

function textOf({ body }: RelayRequest): string {
  return Buffer.concat(body.parts).toString();
}

describe('a body that names the model', () => {
  test('1.2 keeps its bytes when nothing has to change', () => {
    const text = '{ "model": "x/y",  "seed": 1.0 }';
    const request = read('/v1/chat/completions', text);
    expect(textOf(request)).toBe(text);
    expect(request.provider.name).toBe('first');
  });

  test.each(['/v1/chat/completions', '/v1/messages', '/v1/messages/count_tokens', '/v1/embeddings'])(
    '1.2 loses the prefix and no other byte: %s',
    (path) => {
      const text = (model: string): string =>
        `{"seed": 9223372036854775807,  "mod\\u0065l"\t: ${model}, "nested": {"model": "second/x"}, "__proto__": {"a": 1.0}}\n`;
      const request = read(path, text('"s\\u0065cond\\/org/\\"model"'));
      expect(request.provider.name).toBe('second');
      expect(textOf(request)).toBe(text('"org/\\"model"'));
    },
  );

  test.each([
    ['{"secret prompt', 'The body: expected a JSON object, got something that is no JSON.'],
    ['{"model": "\\x"}', 'The body: expected a JSON object, got something that is no JSON.'],
    ['[]', 'The body: expected a JSON object, got an array.'],
  ])('is refused where the format is known: %j', (text, message) => {
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/completions', '/v1/messages']) {
      expect(() => read(path, text)).toThrow(
        expect.objectContaining({ code: 'invalid_request', status: 400, message }),
      );
    }
    expect(textOf(read('/v1/other', text))).toBe(text);
  });

  test.each([
    ['{"model": "second/a", "model": "second/b"}', 'model: expected one, got several.'],
    [`{"model": "second/${'x'.repeat(600)}"}`, 'model: expected at most 512 characters, got more.'],
    [`{"model": "second/${'x'.repeat(60_000)}"}`, 'model: expected at most 512 characters, got more.'],
  ])('1.2 is refused on every path where it cannot be known which it means: %.40s', (text, message) => {
    for (const path of ['/v1/chat/completions', '/v1/embeddings', '/api/chat'])
      expect(() => read(path, text)).toThrow(expect.objectContaining({ code: 'invalid_request', message }));
  });

  test.each([
    '{}',
    '',
    '{"prompt":{"id":"p"},"stream":true}',
    '{"models":["second/a","second/b"]}',
    '{"model":["second/a"]}',
    '{"model":{"second/a":1}}',
    `{"model":["${'x'.repeat(9000)}"]}`,
    '{"model":null}',
    '{"model":""}',
    '{"model":7}',
    '{"model":"other/m"}',
    '{"model":"m","stream":1}',
  ])('1.1 that names no model of a provider goes to the first as it is: %.40s', (text) => {
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/messages', '/v1/other', '/api/chat']) {
      const request = read(path, text);
      expect([request.provider.name, textOf(request)], path).toEqual(['first', text]);
    }
  });

  test('1.2 may begin with a byte order mark, which stays', () => {
    const request = read('/v1/responses', '\ufeff{"model":"second/m"}');
    expect([request.provider.name, textOf(request)]).toEqual(['second', '\ufeff{"model":"m"}']);
  });

  test.each([
    ['true', true],
    ['false', false],
    ['null', false],
    ['1', false],
    ['"true"', false],
    [`"${'x'.repeat(9000)}"`, false],
  ])(
    '2.6 asks for events by true alone, since it cannot be known who understands what else: %.20s',
    (stream, wants) => {
      const request = read('/v1/chat/completions', `{"stream":${stream},"model":"second/m"}`);
      expect([request.provider.name, request.wantsEvents]).toEqual(['second', wants]);
    },
  );

  test('is not read where it is no JSON', () => {
    const text = '{"model": "second/m"}';
    for (const contentType of ['text/plain', 'application/octet-stream', 'application/jsonl']) {
      const request = read('/v1/files', text, { contentType });
      expect([request.provider.name, textOf(request)]).toEqual(['first', text]);
    }
  });

  test.each([
    '',
    'application/x-www-form-urlencoded',
    'application/vnd.api+json',
    'text/json; charset=utf-8',
  ])('is read where a sloppy client may have sent JSON: %j', (contentType) => {
    expect(textOf(read('/api/generate', '{"model": "second/m"}', { contentType }))).toBe('{"model": "m"}');
    expect(read('/v1/embeddings', '{"model": "second/m"}', { contentType }).provider.name).toBe('second');
    expect(read('/v1/embeddings', 'model=second%2Fm', { contentType }).provider.name).toBe('first');
  });

  test('is read whatever its type, where nothing else is sent', () => {
    expect(read('/api/chat', '{"model": "second/m"}', { contentType: 'text/plain' }).provider.name).toBe(
      'second',
    );
    const request = read('/v1/responses', '{"model": "second/m"}', { contentType: 'text/plain' });
    expect([request.provider.name, textOf(request)]).toEqual(['second', '{"model": "m"}']);
    expect(read('/v1/responses', 'Hello', { contentType: 'text/plain' }).provider.name).toBe('first');
  });
});

describe('1.1 a path that names the model', () => {
  test.each([
    ['/v1beta/models/gemini-x:generateContent', 'first', '/v1beta/models/gemini-x:generateContent'],
    ['/v1beta/models/second/gemini-x:generateContent', 'second', '/v1beta/models/gemini-x:generateContent'],
    ['/v1/models/second%2Fgemini-x:generateContent', 'second', '/v1/models/gemini-x:generateContent'],
    ['/v1alpha/models%2Fsecond%2Fx:generateContent', 'second', '/v1alpha/models/x:generateContent'],
    // As the AI SDK writes names with a slash.
    [
      '/v1beta/second/gemini-x:streamGenerateContent',
      'second',
      '/v1beta/models/gemini-x:streamGenerateContent',
    ],
    ['/v1beta/tunedModels/x:generateContent', 'first', '/v1beta/tunedModels/x:generateContent'],
    ['/v1beta/models/second/tunedModels/x:countTokens', 'second', '/v1beta/tunedModels/x:countTokens'],
    ['/v1beta/models/second/m:a=b:generateContent', 'second', '/v1beta/models/m:a=b:generateContent'],
    ['/v1/models/second%2Forg%2Fmodel', 'second', '/v1/models/org%2Fmodel'],
    ['/v1/files/second/x', 'first', '/v1/files/second/x'],
    [
      '/openai/deployments/second%2Fgpt/chat/completions?api-version=1',
      'second',
      '/openai/deployments/gpt/chat/completions',
    ],
    // The second is a deployment here: its SDK encodes the slash of a name.
    ['/openai/deployments/second/chat/completions', 'first', '/openai/deployments/second/chat/completions'],
  ])('%s goes to the %s provider', (url, name, path) => {
    const request = read(url, null, { method: url.includes(':') ? 'POST' : 'GET' });
    expect([request.provider.name, request.path]).toEqual([name, path]);
  });
});

describe('a route', () => {
  const of = (method: string, url: string, headers = {}): Route => findRoute(method, url, headers);

  test.each([
    ['POST', '/v1/chat/completions', {}, 'openai', 'openai-chat'],
    ['POST', '/v1/responses', { 'anthropic-version': '2023-06-01' }, 'openai', 'openai-responses'],
    ['POST', '/v1/completions', {}, 'openai', 'openai-completions'],
    ['POST', '/v1/messages?beta=true', {}, 'anthropic', 'anthropic-messages'],
    ['POST', '/v1/models/m:generateContent', {}, 'gemini', 'gemini'],
    ['POST', '/v1beta/models/m:streamGenerateContent', {}, 'gemini', 'gemini'],
    ['GET', '/v1/chat/completions', {}, 'openai', undefined],
    ['GET', '/v1/models', {}, 'openai', undefined],
    ['GET', '/v1/models', { 'anthropic-version': '2023-06-01' }, 'anthropic', undefined],
    ['GET', '/v1beta/models', {}, 'gemini', undefined],
    ['POST', '/v1/messages/count_tokens', {}, 'anthropic', undefined],
    ['GET', '/v1/messages-of-others', {}, 'openai', undefined],
    ['POST', '/v1/files', { 'x-goog-api-key': 'k' }, 'gemini', undefined],
    ['POST', '/v1/embeddings', {}, 'openai', undefined],
    ['POST', '/openai/deployments/d/chat/completions?api-version=1', {}, 'azure', 'openai-chat'],
    ['POST', '/openai/deployments/d/completions', {}, 'azure', 'openai-completions'],
    ['POST', '/openai/responses?api-version=1', {}, 'azure', 'openai-responses'],
    ['POST', '/openai/v1/chat/completions', {}, 'azure', 'openai-chat'],
    ['POST', '/openai/deployments/d/audio/transcriptions', {}, 'azure', undefined],
    ['GET', '/openai/deployments', { 'anthropic-version': '2023-06-01' }, 'azure', undefined],
    ['POST', '/api/chat', { 'x-goog-api-key': 'k' }, 'ollama', undefined],
    ['GET', '/api/tags', {}, 'ollama', undefined],
  ])('%s %s %j is %s, %s', (method, url, headers, api, format) => {
    const route = of(method, url, headers);
    expect([route.api, route.format?.name]).toEqual([api, format]);
  });

  test('1.6 has the query without the key', () => {
    const route = of('POST', '/v1beta/models/m:streamGenerateContent?a=1&key=se%26cret&alt=sse&%6Bey=2');
    expect(route).toMatchObject({ query: 'a=1&alt=sse', queryKey: 'se&cret', wantsEvents: true });
    expect(of('GET', '/v1/files?key=mine&limit=2')).toMatchObject({ query: 'key=mine&limit=2' });
  });

  test('2.6 to Gemini wants events only by alt=sse, since a comment would break its JSON', () => {
    expect(of('POST', '/v1beta/models/m:streamGenerateContent').wantsEvents).toBe(false);
    expect(of('POST', '/v1beta/models/m:generateContent?alt=sse').wantsEvents).toBe(false);
  });
});

test('what limits count of a request: its prompt with the coding read, and the model that the provider reads', () => {
  const asked = (url: string, text: string, contentType = 'application/json'): RelayRequest => {
    const route = findRoute('POST', url, {});
    const decoded = ReceivedBody.whole(Buffer.from(text), openScanner(route, contentType, ['user']));
    const body = ReceivedBody.whole(Buffer.from('coded'), undefined);
    const members = [['user']];
    return readRelayRequest(
      { route, method: 'POST', contentType, body, decoded, members, isCounted: true },
      served,
    );
  };
  const text = `\n{"user":"${'a '.repeat(2000)}"}`;
  for (const url of ['/v1/chat/completions', '/v1/embeddings', '/v1beta/models/m:generateContent']) {
    expect(asked(url, text).promptTokens).toBe(Math.ceil(text.length / 4));
    expect(asked(url, text).members).toEqual([{ path: ['user'], text: 'a '.repeat(2000) }]);
  }
  expect(asked('/v1/files', text, 'application/octet-stream').promptTokens).toBeGreaterThan(1000);
  expect(asked('/v1/files', 'words', 'application/octet-stream').promptTokens).toBe(0);
  // What is too long to be read is no way around a limit. A list has no names in it.
  const long = 'x'.repeat(262_144);
  expect(() => asked('/v1/chat/completions', `{"user":"${long}"}`)).toThrow(
    'user: expected at most 262144 bytes, got 262146.',
  );
  expect(() => asked('/v1/chat/completions', `{"user":{"a":"${long}"}}`)).toThrow('user: expected');
  expect(asked('/v1/chat/completions', `{"user":["${long}"]}`).members).toEqual([
    { path: ['user'], text: undefined },
  ]);
  const deployment = '/openai/deployments/large/chat/completions';
  expect(asked(deployment, '{"model":"small"}').model).toBe('large');
  expect(asked('/v1beta/models/small%2F..%2Flarge:generateContent', '{}').model).toBe('small/../large');
});

describe('a body of embeddings of Gemini repeats the model', () => {
  const alias = {
    name: 'fast',
    targets: [
      { provider: provider('first', 'gemini'), model: 'embed-1', weight: 1 },
      { provider: provider('second', 'gemini'), model: 'tunedModels/embed-2', weight: 0 },
    ],
    budgetMs: undefined,
  };
  function embed(path: string, text: string): string[] {
    const route = findRoute('POST', path, {});
    const contentType = 'application/json';
    const body = ReceivedBody.whole(Buffer.from(text), openScanner(route, contentType));
    const asked = { route, method: 'POST', contentType, body } as const;
    const request = readRelayRequest(asked, { providers, models: [alias] });
    const attempts = request.targets?.map((target) => {
      const sent = Buffer.concat(bodyWith(request, target.edits)?.body.parts ?? []);
      return `${target.path} ${sent.toString()}`;
    });
    return attempts ?? [`${request.path} ${textOf(request)}`];
  }
  const one = (model: string): string => `{"model":"${model}", "content":{"parts":[{"text":"model"}]}}`;
  const many = (...models: string[]): string =>
    `{"requests": [${models.map((model) => one(model)).join(', ')}]}`;

  test('as the name of its target, for each of them', () => {
    expect(embed('/v1beta/models/fast:embedContent', one('models/fast'))).toEqual([
      `/v1beta/models/embed-1:embedContent ${one('models/embed-1')}`,
      `/v1beta/tunedModels/embed-2:embedContent ${one('tunedModels/embed-2')}`,
    ]);
    expect(embed('/v1beta/models/fast:batchEmbedContents', many('models/fast', 'models/fast'))).toEqual([
      `/v1beta/models/embed-1:batchEmbedContents ${many('models/embed-1', 'models/embed-1')}`,
      `/v1beta/tunedModels/embed-2:batchEmbedContents ${many('tunedModels/embed-2', 'tunedModels/embed-2')}`,
    ]);
  });

  test('without a provider’s name, and as it came if the path names none', () => {
    expect(embed('/v1beta/models/second%2Fe:batchEmbedContents', many('models/second/e'))).toEqual([
      `/v1beta/models/e:batchEmbedContents ${many('models/e')}`,
    ]);
    const plain = many('models/e');
    expect(embed('/v1beta/models/e:batchEmbedContents', plain)).toEqual([
      `/v1beta/models/e:batchEmbedContents ${plain}`,
    ]);
    const content = '{"content":{"parts":[]}}';
    expect(embed('/v1beta/models/fast:embedContent', content)[0]).toBe(
      `/v1beta/models/embed-1:embedContent ${content}`,
    );
  });

  test('up to a size that can be read in one go', () => {
    const text = `{"requests":[{"content":"${'x'.repeat(4_200_000)}"}]}`;
    expect(() => embed('/v1beta/models/fast:batchEmbedContents', text)).toThrow(
      'requests: expected at most 4194304 bytes',
    );
  });
});

test('a key of a realtime conversation is asked for with its model in the session', () => {
  const secret = (model: string): string =>
    `{"session": {"type": "realtime", "model": "${model}"}, "expires_after": {"seconds": 60}}`;
  const named = read('/v1/realtime/client_secrets', secret('second/talks'));
  expect([named.provider.name, named.model, textOf(named)]).toEqual([
    'second',
    'second/talks',
    secret('talks'),
  ]);
  expect(textOf(read('/v1/realtime/client_secrets', secret('talks')))).toBe(secret('talks'));
  expect(textOf(read('/v1/other', secret('second/talks')))).toBe(secret('second/talks'));
});

describe('the body of an attempt', () => {
  function editable(
    text: string,
    more: Partial<IncomingRequest> = {},
    contentType = 'application/json',
  ): RelayRequest {
    const route = findRoute(
      'POST',
      contentType.startsWith('multipart') ? '/v1/audio/transcriptions' : '/v1/messages',
      {},
    );
    const body = ReceivedBody.whole(Buffer.from(text), openScanner(route, contentType, ['max_tokens']));
    return readRelayRequest({ route, method: 'POST', contentType, body, isEditable: true, ...more }, served);
  }
  const bytesOf = (made: ReturnType<typeof bodyWith>): string =>
    Buffer.concat(made?.body.parts ?? []).toString();

  test('has its edits, and no name of a provider', () => {
    const request = editable('{"model": "second/x", "max_tokens": 9, "seed": 1.0}');
    expect(bytesOf(bodyWith(request, []))).toBe('{"model": "x", "max_tokens": 9, "seed": 1.0}');
    const capped = bodyWith(request, [{ path: ['max_tokens'], value: 5 }]);
    expect(bytesOf(capped)).toBe('{"model": "x", "max_tokens": 5, "seed": 1.0}');
    expect(capped?.isDecoded).toBe(false);
    expect(bytesOf(bodyWith(request, [modelEdit('a/b')]))).toBe(
      '{"model": "a/b", "max_tokens": 9, "seed": 1.0}',
    );
  });

  test('of a form has another model', () => {
    const form = (model: string): string =>
      `--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n`;
    const request = editable(form('second/whisper'), {}, 'multipart/form-data; boundary=x');
    expect(bytesOf(bodyWith(request, []))).toBe(form('whisper'));
    expect(bytesOf(bodyWith(request, [modelEdit('large')]))).toBe(form('large'));
  });

  test('is the decoded one if it is edited, and else as it came', () => {
    const decoded = editable('{}').route;
    const plain = ReceivedBody.whole(Buffer.from('{"model":"x"}'), openScanner(decoded));
    const request = editable('coded', { decoded: plain });
    expect(bodyWith(request, [])).toMatchObject({ isDecoded: false });
    expect(bytesOf(bodyWith(request, []))).toBe('coded');
    expect(bodyWith(request, [modelEdit('y')])).toMatchObject({ isDecoded: true });
    expect(bytesOf(bodyWith(request, [modelEdit('y')]))).toBe('{"model":"y"}');
  });

  test('releases the request with it, and is none of what cannot be edited', () => {
    const request = editable('{"model":"x"}');
    let released = 0;
    request.body.onRelease = () => (released += 1);
    const made = bodyWith(request, [modelEdit('y')]);
    made?.body.release();
    expect(released).toBe(1);
    request.body.release();
    expect(released).toBe(1);
    expect(made?.body.parts).toEqual([]);
    expect(bodyWith(request, [modelEdit('z')])).toBeUndefined();
    expect(bodyWith(editable('{"model":"x"}', { isEditable: false }), [modelEdit('y')])).toBeUndefined();
    expect(bodyWith(editable('', { body: null }), [modelEdit('y')])).toBeUndefined();
  });
});
