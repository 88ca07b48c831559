import type { StreamEvent, StreamItem } from '@spillway/client';
import { expect, test } from 'vitest';
import { open, rejection, streaming } from './support/clients.ts';
import { startFakeGateway } from './support/fake-gateway.ts';

const { body, path } = streaming;

test('a reader gives chunks with their offsets, and only `ack` acknowledges', async () => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url, windowBytes: 10_000, headers: { 'x-api-key': 'key' } });
  const reader = client.request(path, { body, windowBytes: 4000 });
  expect([reader.url, reader.offset, reader.credit]).toEqual(['', 0, 4000]);
  const session = await gateway.session();
  expect(await session.frame('request')).toMatchObject({
    windowBytes: 4000,
    headers: { 'x-api-key': 'key' },
  });
  session.respond(1, { url: '/streams/abc', headers: { 'x-one': '1' } });
  const head = await reader.response;
  expect([head.status, head.url, head.headers.get('x-one')]).toEqual([200, '/streams/abc', '1']);
  expect(reader.url).toBe('/streams/abc');
  for (let offset = 0; offset < 3; offset++) session.data(1, offset * 2, offset * 2 + 2, 'x'.repeat(744));
  session.send({ type: 'lag', stream: 1, items: 4, bytes: 400 });
  await session.settle();
  expect(reader.credit).toBe(1000);
  expect(reader.offset).toBe(6);
  expect(reader.lag).toEqual({ items: 7, bytes: 400 + 3 * 744 });

  const { value } = await reader.next();
  expect(value).toMatchObject({ type: 'chunk', from: 0, to: 2 });
  await reader.next();
  expect(() => reader.ack(5)).toThrow(expect.objectContaining({ code: 'bad_ack' }));
  expect(() => reader.ack(Number.NaN)).toThrow(expect.objectContaining({ code: 'bad_ack' }));
  // Within the second chunk: only the first is consumed as a whole.
  reader.ack(3);
  expect((await session.frame('ack')).offset).toBe(2);
  reader.ack(4);
  reader.ack(1);
  expect((await session.frame('ack')).offset).toBe(4);
  expect(reader.credit).toBe(3000);
});

test('a second reader reads by the URL, sees gaps, and leaves without stopping the model', async () => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url });
  const reader = client.read(`${gateway.url}/streams/abc`, { from: 5, overflow: 'drop-oldest' });
  const events: StreamEvent[] = [];
  reader.onEvent((event) => events.push(event));
  const session = await gateway.session();
  expect(await session.frame('read')).toMatchObject({
    url: '/streams/abc',
    from: 5,
    overflow: 'drop-oldest',
  });
  session.respond(1, { url: '/streams/abc' });
  session.data(1, 5, 6, 'five');
  session.send({ type: 'gap', stream: 1, from: 6, to: 8, bytes: 20, reason: 'overflow' });
  session.send({ type: 'gap', stream: 1, from: 8, to: 9, bytes: 10, reason: 'overflow' });
  session.data(1, 9, 10, 'nine');
  await session.settle();
  const items: StreamItem[] = [];
  for await (const item of reader) {
    items.push(item);
    if (item.to === 10) break;
  }
  const encoder = new TextEncoder();
  expect(items).toEqual([
    { type: 'chunk', from: 5, to: 6, bytes: encoder.encode('five') },
    { type: 'gap', from: 6, to: 9, bytes: 30, reason: 'overflow' },
    { type: 'chunk', from: 9, to: 10, bytes: encoder.encode('nine') },
  ]);
  expect(await session.frame('detach')).toEqual({ type: 'detach', stream: 1 });
  expect(events.map((event) => event.type)).toEqual(['gap', 'gap', 'end']);
});

test('5.11: a reader that starts now takes what comes first, and reads on from there', async () => {
  const gateway = await startFakeGateway();
  const reader = open({ url: gateway.url }).read('/streams/abc', {
    from: 'now',
    overflow: 'latest',
    autoAck: true,
  });
  const session = await gateway.session();
  await session.frame('read');
  session.respond(1);
  await reader.response;
  session.cut();
  // Where it was, nobody knows: now is now again.
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  expect(await next.frame('read')).toMatchObject({ stream: 2, from: 'now', overflow: 'latest' });
  next.respond(2);
  next.data(2, 70, 71, 'a');
  expect((await reader.next()).value).toMatchObject({ from: 70, to: 71 });
  next.cut();
  const third = await gateway.session();
  expect(await third.frame('resume')).toMatchObject({ offset: 71 });
  third.fail(1, 'unknown_reader');
  expect(await third.frame('read')).toMatchObject({ from: 71, overflow: 'latest' });
});

test('a reader says what happens to it', async () => {
  const gateway = await startFakeGateway();
  const reader = open({ url: gateway.url, windowBytes: 2000 }).request(path, { body });
  const events: StreamEvent[] = [];
  reader.onEvent((event) => events.push(event));
  const stop = reader.onEvent(() => expect.fail('It does not listen any more.'));
  stop();
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'x'.repeat(1600));
  session.send({ type: 'lag', stream: 1, items: 1, bytes: 5 });
  await reader.next();
  await session.settle();
  reader.ack(1);
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.respond(1);
  next.send({ type: 'end', stream: 1, state: 'completed' });
  expect(await reader.next()).toEqual({ done: true, value: undefined });
  expect(events).toEqual([
    { type: 'stalled', reason: 'window_full' },
    { type: 'lag', lag: { items: 2, bytes: 1605 } },
    { type: 'resumed' },
    { type: 'stalled', reason: 'connection_lost' },
    { type: 'resumed' },
    { type: 'end', state: 'completed' },
  ]);
});

test('below fetch there is no plain HTTP', async () => {
  const gateway = await startFakeGateway({ accepts: 'nothing' });
  const reader = open({ url: gateway.url }).request(path, { body });
  expect(await rejection(reader.response)).toMatchObject({ code: 'no_session' });
  expect(await rejection(reader.next())).toMatchObject({
    code: 'no_session',
    // Where it was tried, and what it may be: the number alone says nothing to who reads it.
    message: expect.stringMatching(
      /^No WebSocket to a gateway could be opened at ws:\/\/127\.0\.0\.1:\d+\/streams \(\d{4}.*\): is it there, /,
    ) as string,
  });
  const small = await startFakeGateway({ limits: { maxMessageBytes: 100, maxStreams: 0 } });
  expect(await rejection(open({ url: small.url }).request(path, { body }).response)).toMatchObject({
    code: 'too_many_streams',
  });
  const smaller = await startFakeGateway({ limits: { maxMessageBytes: 100 } });
  expect(await rejection(open({ url: smaller.url }).request(path, { body }).response)).toMatchObject({
    code: 'message_too_large',
  });
});

test('cancel and detach say which, and end the reader', async () => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url });
  const readers = [client.request(path, { body }), client.request(path, { body })];
  const session = await gateway.session();
  for (const stream of [1, 2]) {
    await session.frame('request');
    session.respond(stream);
    session.data(stream, 0, 1, 'a');
  }
  await session.settle();
  readers[0]?.cancel();
  readers[1]?.detach();
  expect(await session.frame('cancel')).toEqual({ type: 'cancel', stream: 1 });
  expect(await session.frame('detach')).toEqual({ type: 'detach', stream: 2 });
  for (const reader of readers) expect(await reader.next()).toEqual({ done: true, value: undefined });
  readers[0]?.cancel();
  const early = client.request(path, { body });
  early.cancel();
  expect(await rejection(early.response)).toMatchObject({ name: 'AbortError' });
});

test('only one call of next waits', async () => {
  const gateway = await startFakeGateway();
  const reader = open({ url: gateway.url }).request(path, { body });
  const first = reader.next();
  expect(await rejection(reader.next())).toMatchObject({ code: 'read_pending' });
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'a');
  expect((await first).value).toMatchObject({ to: 1 });
});

test('a key in the query comes back as a header', async () => {
  const gateway = await startFakeGateway();
  open({ url: gateway.url }).request('/v1beta/models/g:streamGenerateContent?alt=sse&key=secret', { body });
  const session = await gateway.session();
  await session.frame('request');
  session.cut();
  const next = await gateway.session();
  expect((await next.frame('resume')).headers).toEqual({ 'x-goog-api-key': 'secret' });
});

test.each([-1, 1.5, Number.NaN])('an offset that is none is refused: %d', async (from) => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url });
  expect(() => client.read('/streams/abc', { from })).toThrow(
    expect.objectContaining({ code: 'invalid_option' }),
  );
  expect(() => client.request(path, { windowBytes: from })).toThrow(/windowBytes/);
});
