import { encodeDataHeader } from '@spillway/core/session';
import type { ClientEvent } from '@spillway/client';
import { WebSocket } from 'ws';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, onTestFinished, test } from 'vitest';
import { advanceUntil, countSockets, open, openFetch, rejection, streaming } from './support/clients.ts';
import { type FakeGatewayOptions, type FakeSession, startFakeGateway } from './support/fake-gateway.ts';
import { within } from '../../core/test/support/within.ts';

const { init, path } = streaming;

test.each<[string, FakeGatewayOptions]>([
  ['the upgrade is refused', { accepts: 'nothing' }],
  ['the subprotocol is not accepted', { accepts: 'protocol' }],
  ['it says nothing in time', { greeting: '' }],
  ['it says something else first', { greeting: '{"type":"pong"}' }],
  ['it says no JSON', { greeting: 'hello' }],
])('without a session a request goes by plain HTTP, for a while: %s', async (_why, options) => {
  const gateway = await startFakeGateway(options);
  const clock = new VirtualClock();
  const events: ClientEvent[] = [];
  const fetch = openFetch({ url: gateway.url, clock, onEvent: (event) => events.push(event) });
  const responses = Promise.all([fetch(gateway.url + path, init), fetch(gateway.url + path, init)]);
  await advanceUntil(clock, () => gateway.upgrades === 1, 'an upgrade', 0);
  if (options.greeting === '') {
    await clock.advance(2999);
    expect(events).toEqual([]);
    await clock.advance(1);
  }
  for (const response of await responses) expect(await response.text()).toBe(`plain POST ${path}`);
  expect(gateway.requests[0]).toMatchObject({ body: init.body, headers: init.headers });
  await fetch(gateway.url + path, init);
  expect(gateway.upgrades).toBe(1);
  expect(events).toEqual(Array.from({ length: 3 }, () => ({ type: 'fallback', code: 'no_session' })));
});

test('after that while a session is tried again', async () => {
  const gateway = await startFakeGateway({ accepts: 'nothing' });
  const fetch = openFetch({ url: gateway.url, fallbackMs: 0 });
  expect(await (await fetch(gateway.url + path, init)).text()).toBe(`plain POST ${path}`);
  gateway.accepts = 'session';
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.end(1);
  expect(await (await promise).text()).toBe('');
});

test('a request that has no other way tries each time', async () => {
  const gateway = await startFakeGateway({ accepts: 'nothing' });
  const client = open({ url: gateway.url });
  const read = async (): Promise<void> => {
    for await (const item of client.request(path, { body: init.body })) expect(item.type).not.toBe('chunk');
  };
  await expect(read()).rejects.toMatchObject({ code: 'no_session' });
  gateway.accepts = 'session';
  const promise = read();
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.end(1);
  await promise;
});

test('without a WebSocket at all a request goes by plain HTTP', async () => {
  const gateway = await startFakeGateway();
  const { WebSocket: Original } = globalThis;
  Reflect.deleteProperty(globalThis, 'WebSocket');
  const fetch = openFetch({ url: gateway.url });
  Object.assign(globalThis, { WebSocket: Original });
  expect(await (await fetch(gateway.url + path, init)).text()).toBe(`plain POST ${path}`);
});

test('5.15: a request that is larger than a message may be goes by plain HTTP', async () => {
  const gateway = await startFakeGateway({ limits: { maxMessageBytes: 2000 } });
  const fetch = openFetch({ url: gateway.url });
  // Two bytes a character: the limit counts bytes.
  const body = JSON.stringify({ stream: true, text: 'é'.repeat(900) });
  expect(await (await fetch(gateway.url + path, { ...init, body })).text()).toBe(`plain POST ${path}`);
  expect(gateway.requests[0]?.body).toBe(body);
  const promise = fetch(gateway.url + path, { ...init, body: body.replaceAll('é', 'e') });
  const session = gateway.sessions[0];
  const request = await session?.frame('request');
  expect(request?.body).toContain('eee');
  session?.respond(request?.stream ?? 0);
  session?.end(request?.stream ?? 0);
  await promise;
});

test.each([
  ['a header', path, { 'x-long': 'a'.repeat(8193) }],
  ['a character', path, { 'x-odd': 'a\u0001b' }],
  ['a path', `${path}?a=${'a'.repeat(8192)}`, {}],
])('what would end the session goes by plain HTTP: %s', async (_what, target, headers) => {
  const gateway = await startFakeGateway();
  const sent: RequestInit[] = [];
  const fetch = openFetch({
    url: gateway.url,
    fetch: (_url, options) => {
      sent.push(options ?? {});
      return Promise.resolve(new Response('plain'));
    },
  });
  const response = await fetch(gateway.url + target, { ...init, headers: { ...init.headers, ...headers } });
  expect(await response.text()).toBe('plain');
  expect(Object.fromEntries(new Headers(sent[0]?.headers))).toMatchObject(headers);
  expect(gateway.upgrades).toBe(0);
});

test('5.13: more streams than the gateway takes go by plain HTTP', async () => {
  const gateway = await startFakeGateway({ limits: { maxStreams: 2 } });
  const fetch = openFetch({ url: gateway.url });
  const first = [fetch(gateway.url + path, init), fetch(gateway.url + path, init)];
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  expect(await (await fetch(gateway.url + path, init)).text()).toBe(`plain POST ${path}`);
  session.respond(1);
  session.end(1);
  await (await first[0])?.text();
  const third = fetch(gateway.url + path, init);
  expect((await session.frame('request')).stream).toBe(3);
  for (const stream of [2, 3]) session.respond(stream);
  await Promise.all([...first, third]);
});

test('the WebSocket of `ws` fits too', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url, WebSocket })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'hello');
  await session.settle();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.respond(1);
  next.end(1);
  expect(await (await promise).text()).toBe('hello');
});

test.each([
  [4400, 'bad_frame'],
  [4401, 'bad_ack'],
  [4429, 'too_many_streams'],
  [1009, 'message_too_large'],
])('5.13: after %i nobody comes back', async (code, reason) => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url });
  const reader = client.request(path, { body: init.body });
  const promise = client.fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  session.respond(2);
  const response = await promise;
  const failed = rejection(reader.next());
  session.close(code, reason);
  expect(await failed).toMatchObject({ code: reason });
  expect(await rejection(reader.response)).toMatchObject({ code: reason });
  expect(await rejection(response.text())).toMatchObject({ code: reason });
  expect(gateway.upgrades).toBe(1);
  // What comes later takes another connection.
  client.request(path, { body: init.body });
  const next = await gateway.session();
  expect((await next.frame('request')).stream).toBe(1);
});

test.each([1001, 1012, 4408, 4409])('5.13: after %i the streams come back', async (code) => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.close(code);
  const next = await gateway.session();
  expect(await next.frame('resume')).toMatchObject({ stream: 1 });
  next.respond(1);
  await promise;
});

test.each<[string, (session: FakeSession) => void]>([
  ['no JSON', (session) => session.sendRaw('{')],
  ['no object', (session) => session.sendRaw('null')],
  ['no frame', (session) => session.sendRaw('{"type":"toString"}')],
  ['a field is missing', (session) => session.sendRaw('{"type":"end","stream":1}')],
  ['a field is wrong', (session) => session.sendRaw('{"type":"lag","stream":1,"items":-1,"bytes":0}')],
  ['too much of it', (session) => session.sendRaw(`{"type":"pong","a":"${'a'.repeat(1_048_576)}"}`)],
  ['a second open', (session) => session.send({ type: 'open', maxStreams: 1, maxMessageBytes: 1 })],
  ['no such stream', (session) => session.end(2)],
  ['stream 0', (session) => session.data(0, 0, 1, 'a')],
  ['data that is too short', (session) => session.sendRaw(new Uint8Array(15))],
  ['data that goes back', (session) => session.sendRaw(encodeDataHeader(1, 2, 1))],
])('what is no frame ends the session: %s', async (_what, say) => {
  const gateway = await startFakeGateway();
  const failed = rejection(openFetch({ url: gateway.url })(gateway.url + path, init));
  const session = await gateway.session();
  await session.frame('request');
  say(session);
  expect(await failed).toMatchObject({ code: 'protocol_error' });
  expect(await session.closed()).toEqual({ code: 4400, reason: 'bad_frame' });
  expect(gateway.upgrades).toBe(1);
});

test.each<[string, (session: FakeSession) => void]>([
  ['data before the answer', (session) => session.data(1, 0, 1, 'a')],
  ['no status', (session) => session.respond(1, { status: 99 })],
  ['a status that no answer in this language has', (session) => session.respond(1, { status: 600 })],
  ['headers that are none', (session) => session.respond(1, { headers: { 'a b': 'c' } })],
  [
    'a hole',
    (session) => {
      session.respond(1);
      session.data(1, 0, 1, 'a');
      session.data(1, 2, 3, 'c');
    },
  ],
  [
    'a gap that goes back',
    (session) => {
      session.respond(1);
      session.send({ type: 'gap', stream: 1, from: 0, to: 0, bytes: 0, reason: 'r' });
    },
  ],
])('what does not fit ends its stream only: %s', async (_what, say) => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const failed = rejection(fetch(gateway.url + path, init).then((response) => response.text()));
  const other = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  say(session);
  expect(await within(failed, 'the stream to fail')).toMatchObject({ code: 'protocol_error' });
  expect(await session.frame('detach')).toEqual({ type: 'detach', stream: 1 });
  session.respond(2);
  session.end(2);
  expect(await (await other).text()).toBe('');
});

test('an error of the gateway fails the request, or the body behind what came', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const failed = rejection(fetch(gateway.url + path, init));
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  session.fail(1, 'overloaded');
  expect(await failed).toMatchObject({ code: 'overloaded', message: 'It is overloaded.', offset: 0 });
  session.respond(2);
  session.data(2, 0, 4, 'some');
  session.fail(2, 'reader_disconnected', 4);
  const body = (await promise).body?.getReader();
  expect(new TextDecoder().decode((await body?.read())?.value)).toBe('some');
  expect(await rejection(body?.read() ?? Promise.resolve())).toMatchObject({
    code: 'reader_disconnected',
    offset: 4,
  });
  await session.frame('detach');
  await session.frame('detach');
});

test('a fetch cannot say that chunks are missing, so it fails', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.send({ type: 'gap', stream: 1, from: 0, to: 3, bytes: 30, reason: 'overflow' });
  session.data(1, 3, 4, 'rest');
  expect(await rejection((await promise).text())).toMatchObject({ code: 'protocol_error', offset: 0 });
});

test('a connection without a sign of life is given up, and the streams come back on another', async () => {
  const gateway = await startFakeGateway();
  const clock = new VirtualClock();
  const fetch = openFetch({ url: gateway.url, clock });
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  await session.settle();
  await clock.advance(15_000);
  // Whoever answers is left alone, and asked again after the time for an answer and that of a silence.
  for (let count = 0; count < 2; count += 1) {
    await session.frame('ping');
    session.send({ type: 'pong' });
    await session.settle();
    await clock.advance(10_000 + 15_000);
  }
  expect(gateway.upgrades).toBe(1);
  await session.frame('ping');
  session.freeze();
  await clock.advance(9999);
  expect(gateway.upgrades).toBe(1);
  // And the wait before the first attempt.
  await clock.advance(1 + 100);
  const next = await gateway.session();
  await next.frame('resume');
  next.respond(1);
  next.end(1);
  expect(await (await promise).text()).toBe('');
});

test('nobody asks for a sign of life when no stream is live', async () => {
  const gateway = await startFakeGateway();
  const clock = new VirtualClock();
  const fetch = openFetch({ url: gateway.url, clock, idleTimeoutMs: 100_000 });
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.end(1);
  await promise;
  await session.frame('detach');
  const { length } = session.framesOf('ping');
  await clock.advance(99_000);
  await session.settle();
  expect(session.framesOf('ping')).toHaveLength(length);
  expect(gateway.upgrades).toBe(1);
});

test('an idle connection is closed, and another one opened when it is needed', async () => {
  const gateway = await startFakeGateway();
  const events: string[] = [];
  const clock = new VirtualClock();
  const fetch = openFetch({ url: gateway.url, clock, onEvent: ({ type }) => events.push(type) });
  for (let count = 0; count < 2; count++) {
    const promise = fetch(gateway.url + path, init);
    const session = await gateway.session();
    await session.frame('request');
    session.respond(1);
    session.end(1);
    await (await promise).text();
    await clock.advance(1000);
    expect(await session.closed()).toMatchObject({ code: 1000 });
  }
  expect(events).toEqual(['connected', 'connected']);
});

test.each(['online', 'visibilitychange'])('after %s nobody waits for a timer', async (type) => {
  const target = new EventTarget();
  if (type === 'visibilitychange') Object.assign(globalThis, { document: target });
  const names = ['addEventListener', 'removeEventListener'] as const;
  for (const name of names) Object.assign(globalThis, { [name]: target[name].bind(target) });
  onTestFinished(() => {
    for (const name of [...names, 'document']) Reflect.deleteProperty(globalThis, name);
  });
  const clock = new VirtualClock();
  const gateway = await startFakeGateway();
  const { counts, WebSocket: Counted } = countSockets();
  const fetch = openFetch({ url: gateway.url, clock, WebSocket: Counted });
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  target.dispatchEvent(new Event(type));
  expect(await session.frame('ping')).toEqual({ type: 'ping' });
  gateway.accepts = 'nothing';
  session.cut();
  // Some attempts in a row, and then a wait that nobody ends: the clock stands still.
  await advanceUntil(clock, () => counts.closed === 8, 'some attempts');
  gateway.accepts = 'session';
  target.dispatchEvent(new Event(type));
  const next = await gateway.session();
  await next.frame('resume');
  next.respond(1);
  await promise;
});

test('what a listener throws stops nothing', async () => {
  const gateway = await startFakeGateway();
  const thrown: unknown[] = [];
  const catchOne = (error: unknown): void => void thrown.push(error);
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', catchOne);
  try {
    const fetch = openFetch({
      url: gateway.url,
      onEvent: () => {
        throw new Error('Mine.');
      },
    });
    const promise = fetch(gateway.url + path, init);
    const session = await gateway.session();
    await session.frame('request');
    session.respond(1);
    session.end(1);
    expect(await (await promise).text()).toBe('');
    expect(thrown).toMatchObject([{ message: 'Mine.' }]);
  } finally {
    process.off('uncaughtException', catchOne);
    for (const other of others) process.on('uncaughtException', other);
  }
});
