import { expect, test } from 'vitest';
import { createFetch } from '@spillway/client';
import { openFetch, streaming } from './support/clients.ts';
import { type FakeGateway, startFakeGateway } from './support/fake-gateway.ts';

const { init, path } = streaming;

test('a streaming request travels over a session and comes back as a response', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const promise = fetch(`${gateway.url}${path}?a=b`, init);
  const session = await gateway.session();
  expect(session.framesOf('open')).toEqual([{ type: 'open', windowBytes: 1_048_576 }]);
  const { reader, ...request } = await session.frame('request');
  expect(request).toEqual({
    type: 'request',
    stream: 1,
    windowBytes: 16_384,
    method: 'POST',
    path: `${path}?a=b`,
    headers: init.headers,
    body: init.body,
  });
  expect(reader).toMatch(/^[\w-]{22,64}$/);

  session.respond(1, { status: 203, url: '/streams/abc', headers: { 'x-one': '1' } });
  const response = await promise;
  expect(response).toBeInstanceOf(Response);
  expect(response.status).toBe(203);
  expect(response.url).toBe(`${gateway.url}${path}?a=b`);
  expect(Object.fromEntries(response.headers)).toEqual({ 'x-one': '1', 'content-location': '/streams/abc' });
  session.data(1, 0, 1, 'Hello ');
  session.data(1, 1, 5, 'world');
  session.end(1);
  expect(await response.text()).toBe('Hello world');
  expect(await session.frame('detach')).toEqual({ type: 'detach', stream: 1 });
  expect(gateway.requests).toEqual([]);
});

async function answerAll(gateway: FakeGateway): Promise<void> {
  const session = await gateway.session();
  for (;;) {
    const { stream } = await session.frame('request');
    session.respond(stream);
    session.end(stream);
  }
}

const bytes = new TextEncoder().encode(init.body);
const gemini = '/v1beta/models/g:streamGenerateContent';
test.each<[string, (url: string) => [RequestInfo | URL, RequestInit?]]>([
  ['a string', (url) => [url + path, init]],
  ['a string of the provider', () => [`https://api.openai.com${path}`, init]],
  ['a path', () => [path, init]],
  ['a URL', (url) => [new URL(url + path), init]],
  ['a Request', (url) => [new Request(url + path, init)]],
  [
    'a Request whose body is replaced',
    (url) => [new Request(url + path, { ...init, body: '{}' }), { body: init.body }],
  ],
  ['bytes', (url) => [url + path, { ...init, body: bytes }]],
  ['an ArrayBuffer', (url) => [url + path, { ...init, body: bytes.buffer }]],
  ['a method in small letters', (url) => [url + path, { ...init, method: 'post' }]],
  ['Headers', (url) => [url + path, { ...init, headers: new Headers(init.headers) }]],
  ['spaces in the JSON', (url) => [url + path, { ...init, body: '{ "stream" : true }' }]],
  ['Gemini', (url) => [`${url}${gemini}?alt=sse`, { ...init, body: '{"contents":[]}' }]],
])('what streams: %s', async (_name, call) => {
  const gateway = await startFakeGateway();
  void answerAll(gateway);
  const response = await openFetch({ url: gateway.url })(...call(gateway.url));
  expect(await response.text()).toBe('');
  expect(response.headers.get('content-location')).toBe('/streams/token-1');
  const request = gateway.sessions[0]?.framesOf('request')[0];
  expect(request?.path).toBe(new URL(response.url).pathname + new URL(response.url).search);
  expect(JSON.parse(request?.body ?? '')).toBeTypeOf('object');
  expect(request?.headers).toMatchObject(init.headers);
  expect(gateway.requests).toEqual([]);
});

test.each<[string, (url: string) => [RequestInfo | URL, RequestInit?]]>([
  ['GET', (url) => [`${url}/v1/models`]],
  [
    'GET by a Request',
    (url) => [new Request(`${url}/v1/models`, { headers: { authorization: 'Bearer key' } })],
  ],
  ['GET of the provider', () => ['https://api.openai.com/v1/models']],
  ['no stream', (url) => [url + path, { ...init, body: '{"stream":false}' }]],
  ['stream in another place', (url) => [url + path, { ...init, body: '{"a":{"stream":true}}' }]],
  ['no JSON', (url) => [url + path, { ...init, body: '"stream": true' }]],
  ['a JSON list', (url) => [url + path, { ...init, body: '["stream"]' }]],
  ['PUT', (url) => [url + path, { ...init, method: 'PUT' }]],
  ['no UTF-8', (url) => [url + path, { ...init, body: new Uint8Array([0xff, ...bytes]) }]],
  ['a form', (url) => [url + path, { method: 'POST', body: new URLSearchParams({ stream: 'true' }) }]],
  ['Gemini as JSON', (url) => [url + gemini, { ...init, body: '{"contents":[]}' }]],
  [
    'a Request that does not stream',
    (url) => [new Request(url + path, { ...init, body: '{"stream":false}' })],
  ],
])('what does not stream goes by plain HTTP: %s', async (_name, call) => {
  const gateway = await startFakeGateway();
  const [input, options] = call(gateway.url);
  const fetch = openFetch({ url: gateway.url, headers: { 'x-own': 'yes' } });
  const response = await fetch(input, options);
  const [request] = gateway.requests;
  expect(request?.headers['x-own']).toBe('yes');
  expect(await response.text()).toBe(`plain ${request?.method} ${request?.path}`);
  expect(gateway.upgrades).toBe(0);
  const given = input instanceof Request ? input : new Request(new URL(String(input), gateway.url), options);
  expect(request?.method).toBe(given.method);
  expect(request?.path).toBe(new URL(given.url).pathname);
});

test('a plain request brings its body, from a Request too', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const body = '{"stream":false}';
  await fetch(gateway.url + path, { ...init, body });
  await fetch(new Request(gateway.url + path, { ...init, body }));
  await fetch(new Request(gateway.url + path, { method: 'POST', body: 'text' }));
  const request = new Request(gateway.url + path, { method: 'POST', body: 'text' });
  await fetch(request, { method: 'POST', body: 'other' });
  expect(gateway.requests.map((plain) => plain.body)).toEqual([body, body, 'text', 'other']);
});

test('the headers of a request win over those of the client, and the transport’s are left out', async () => {
  const gateway = await startFakeGateway();
  void answerAll(gateway);
  const fetch = openFetch({ url: gateway.url, headers: { authorization: 'Bearer own', 'x-own': 'yes' } });
  await fetch(gateway.url + path, {
    ...init,
    headers: { Authorization: 'Bearer its', 'Content-Length': '5' },
  });
  await fetch(gateway.url + path, { ...init, headers: {} });
  const text = 'text/plain;charset=UTF-8';
  expect(gateway.sessions[0]?.framesOf('request').map((request) => request.headers)).toEqual([
    { authorization: 'Bearer its', 'x-own': 'yes', 'content-type': text },
    { authorization: 'Bearer own', 'x-own': 'yes', 'content-type': text },
  ]);
});

test('many streams share one socket, each with a number of its own', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const promises = Array.from({ length: 30 }, () => fetch(gateway.url + path, init));
  const session = await gateway.session();
  const numbers: number[] = [];
  for (let index = 0; index < 30; index++) numbers.push((await session.frame('request')).stream);
  expect(numbers).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  for (const stream of numbers.toReversed()) session.respond(stream);
  const responses = await Promise.all(promises);
  for (const stream of numbers) session.data(stream, 0, 1, `a${stream}`);
  for (const stream of numbers.toReversed()) {
    session.data(stream, 1, 2, `b${stream}`);
    session.end(stream);
  }
  const texts = await Promise.all(responses.map((response) => response.text()));
  expect(texts).toEqual(numbers.map((stream) => `a${stream}b${stream}`));
  expect(gateway.upgrades).toBe(1);
});

test.each([204, 205, 304])('the status %i has no body', async (status) => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1, { status, url: '' });
  const response = await promise;
  expect(response.status).toBe(status);
  expect(response.body).toBeNull();
  await session.frame('detach');
});

test('an error is answered as by HTTP', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1, { status: 401, url: '', headers: { 'content-type': 'application/json' } });
  session.data(1, 0, 0, '{"error":{}}');
  session.end(1);
  const response = await promise;
  expect(response.status).toBe(401);
  expect(response.headers.has('content-location')).toBe(false);
  expect(await response.json()).toEqual({ error: {} });
});

test('a gateway below a path', async () => {
  const gateway = await startFakeGateway({ prefix: '/gateway' });
  void answerAll(gateway);
  const fetch = openFetch({ url: `${gateway.url}/` });
  await fetch(gateway.url + path, init);
  await fetch(`https://api.openai.com${path}`, init);
  expect(gateway.sessions[0]?.framesOf('request').map((request) => request.path)).toEqual([path, path]);
  expect(await (await fetch(`${gateway.url}/v1/models`)).text()).toBe('plain GET /gateway/v1/models');
});

test('without a url it is the plain fetch', async () => {
  const gateway = await startFakeGateway();
  const fetch = createFetch();
  expect(await (await fetch(gateway.url + path, init)).text()).toBe(`plain POST ${path}`);
  expect(await (await createFetch({ fetch })(gateway.url + path, init)).text()).toBe(`plain POST ${path}`);
  await fetch.close();
  expect(gateway.upgrades).toBe(0);
});

test.each([
  [{ url: 'gateway' }, /url/],
  [{ url: 'ws://gateway' }, /url/],
  [{ url: 'http://gateway', windowBytes: 0 }, /windowBytes/],
  [{ url: 'http://gateway', connectionWindowBytes: 1.5 }, /connectionWindowBytes/],
  [{ url: 'http://gateway', giveUpAfterMs: -1 }, /giveUpAfterMs/],
])('options that cannot be are refused: %j', (options, message) => {
  expect(() => createFetch(options)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  expect(() => createFetch(options)).toThrow(message);
});
