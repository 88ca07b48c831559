import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { advanceUntil, countSockets, open, openFetch, rejection, streaming } from './support/clients.ts';
import { type FakeGateway, type FakeSession, startFakeGateway } from './support/fake-gateway.ts';

const { init, path } = streaming;

async function openBody(): Promise<{
  gateway: FakeGateway;
  session: FakeSession;
  response: Response;
  reader: string;
}> {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  const { reader } = await session.frame('request');
  session.respond(1, { url: '/streams/abc' });
  return { gateway, session, response: await promise, reader };
}

test('5.8: after a cut it goes on behind what was received', async () => {
  const { gateway, reader, response, session } = await openBody();
  const text = response.text();
  session.data(1, 0, 2, 'one ');
  session.data(1, 2, 3, 'two ');
  await session.settle();
  session.cut();
  const next = await gateway.session();
  expect(next.framesOf('open')).toHaveLength(1);
  const resume = await next.frame('resume');
  // Behind all that come back.
  await next.frame('ping');
  expect(resume).toEqual({
    type: 'resume',
    stream: 1,
    reader,
    headers: { authorization: 'Bearer key' },
    offset: 3,
    acked: 3,
    more: true,
  });
  next.respond(1, { url: '/streams/abc' });
  next.data(1, 3, 9, 'three');
  next.end(1);
  expect(await text).toBe('one two three');
  expect(next.framesOf('request')).toEqual([]);
});

test('5.8: `acked` is what was consumed, and the rest is acknowledged later', async () => {
  const { gateway, response, session } = await openBody();
  const body = response.body?.getReader();
  for (let offset = 0; offset < 4; offset++) session.data(1, offset, offset + 1, 'x'.repeat(3000));
  await body?.read();
  await body?.read();
  await session.settle();
  session.cut();
  const next = await gateway.session();
  expect(await next.frame('resume')).toMatchObject({ offset: 4, acked: 1 });
  await body?.read();
  await body?.read();
  body?.read().catch(() => {});
  await next.settle();
  // Before the gateway has answered, there is nothing that could be acknowledged.
  expect(next.framesOf('ack')).toEqual([]);
  next.respond(1, { url: '/streams/abc' });
  expect(await next.frame('ack')).toEqual({ type: 'ack', stream: 1, offset: 4 });
});

test('5.8: a cut in the middle of many streams brings all of them back', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const promises = Array.from({ length: 10 }, () => fetch(gateway.url + path, init));
  const session = await gateway.session();
  const readers = new Map<string, number>();
  for (let count = 0; count < 10; count++) {
    const { reader, stream } = await session.frame('request');
    readers.set(reader, stream);
    session.respond(stream);
    for (let offset = 0; offset < stream; offset++) session.data(stream, offset, offset + 1, `${offset} `);
  }
  const texts = Promise.all(promises.map(async (promise) => (await promise).text()));
  await session.settle();
  session.cut();
  const next = await gateway.session();
  for (let count = 1; count <= 10; count++) {
    const { offset, reader, stream } = await next.frame('resume');
    expect(stream).toBe(count);
    expect(readers.get(reader)).toBe(offset);
    next.respond(stream);
    for (let from = offset; from < 10; from++) next.data(stream, from, from + 1, `${from} `);
    next.end(stream);
  }
  expect(await texts).toEqual(Array.from({ length: 10 }, () => '0 1 2 3 4 5 6 7 8 9 '));
});

test('5.9: a request that never arrived is sent again, as another reader', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  const request = await session.frame('request');
  session.cut();
  const next = await gateway.session();
  expect(await next.frame('resume')).toEqual({
    type: 'resume',
    stream: 1,
    reader: request.reader,
    headers: { authorization: 'Bearer key' },
    offset: 0,
    acked: 0,
    session: 'session-1',
    request: 1,
    more: true,
  });
  next.fail(1, 'not_arrived');
  const again = await next.frame('request');
  expect(again).toEqual({ ...request, stream: 2, reader: again.reader });
  expect(again.reader).not.toBe(request.reader);
  next.respond(2);
  next.data(2, 0, 1, 'all');
  next.end(2);
  expect(await (await promise).text()).toBe('all');
});

test('5.9: over which session it was sent is said until there is an answer, however often it is resumed', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.cut();
  const second = await gateway.session();
  await second.frame('resume');
  second.cut();
  const third = await gateway.session();
  expect(await third.frame('resume')).toMatchObject({ session: 'session-1', request: 1 });
  third.fail(1, 'not_arrived');
  await third.frame('request');
  third.cut();
  const fourth = await gateway.session();
  expect(await fourth.frame('resume')).toMatchObject({ session: 'session-3', request: 2 });
  fourth.respond(1);
  await promise;
  fourth.cut();
  expect(await (await gateway.session()).frame('resume')).not.toHaveProperty('session');
});

test('5.9: a request of which nobody knows whether it arrived is not sent again, and its caller is told', async () => {
  const gateway = await startFakeGateway();
  const client = open({ url: gateway.url });
  const failed = rejection(client.fetch(path, init));
  const reader = client.request(path, { body: init.body });
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  next.fail(2, 'unknown_reader');
  expect(await failed).toMatchObject({ code: 'arrival_unknown' });
  expect(await rejection(reader.response)).toMatchObject({ code: 'arrival_unknown' });
  await next.settle();
  expect(next.framesOf('request')).toEqual([]);
  expect(gateway.requests).toEqual([]);
});

test('5.9: a gateway that has no names for sessions is asked without', async () => {
  const greeting = JSON.stringify({ type: 'open', maxStreams: 100, maxMessageBytes: 1_048_576 });
  const gateway = await startFakeGateway({ greeting });
  const failed = rejection(openFetch({ url: gateway.url })(gateway.url + path, init));
  const session = await gateway.session();
  await session.frame('request');
  session.cut();
  const next = await gateway.session();
  const fields = Object.keys(await next.frame('resume'));
  expect(fields.join(' ')).toBe('type stream reader headers offset acked');
  next.fail(1, 'unknown_reader');
  expect(await failed).toMatchObject({ code: 'arrival_unknown' });
});

test('5.9: a reader that is gone reads on by its URL', async () => {
  const { gateway, reader, response, session } = await openBody();
  session.data(1, 0, 7, 'one ');
  const text = response.text();
  await session.settle();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  const read = await next.frame('read');
  expect(read).toMatchObject({
    stream: 2,
    url: '/streams/abc',
    from: 7,
    overflow: 'coalesce',
    headers: init.headers,
  });
  expect(read.reader).not.toBe(reader);
  next.respond(2);
  next.data(2, 7, 8, 'two ');
  await next.settle();
  // And once more, now as that reader.
  next.cut();
  const third = await gateway.session();
  expect(await third.frame('resume')).toMatchObject({ reader: read.reader, offset: 8 });
  third.respond(1);
  third.data(1, 8, 9, 'three');
  third.end(1);
  expect(await text).toBe('one two three');
});

test('5.9: it reads on when what it has is taken, or it would hold a window more each time', async () => {
  const { gateway, response, session } = await openBody();
  for (let offset = 0; offset < 4; offset++) session.data(1, offset, offset + 1, 'x'.repeat(3000));
  await session.settle();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  await next.settle();
  expect(next.framesOf('read')).toEqual([]);
  next.cut();
  const third = await gateway.session();
  await third.settle();
  const body = response.body?.getReader();
  for (let count = 0; count < 3; count++) await body?.read();
  await third.settle();
  expect(third.frames.map((frame) => frame.type)).toEqual(['open']);
  await body?.read();
  expect(await third.frame('read')).toMatchObject({ stream: 1, from: 4 });
  third.respond(1);
  for (let offset = 4; offset < 9; offset++) third.data(1, offset, offset + 1, 'y'.repeat(3000));
  third.end(1);
  let bytes = 0;
  for (;;) {
    const part = await body?.read();
    if (part?.value === undefined) break;
    bytes += part.value.length;
  }
  expect(bytes).toBe(15_000);
});

test.each<[string, (session: FakeSession) => void]>([
  ['an error', (session) => session.fail(2, 'history_gone', 9)],
  ['an error, because nothing is left', (session) => session.fail(2, 'not_found', 0)],
  ['410', (session) => session.respond(2, { status: 410, url: '' })],
  ['404', (session) => session.respond(2, { status: 404, url: '' })],
])('5.9: when the history is gone, the body fails: %s', async (_by, answer) => {
  const { gateway, response, session } = await openBody();
  session.data(1, 0, 7, 'one');
  const body = response.body?.getReader();
  await body?.read();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  await next.frame('read');
  answer(next);
  expect(await rejection(body?.read() ?? Promise.resolve())).toMatchObject({
    name: 'SpillwayError',
    code: 'history_gone',
  });
});

test('5.9: an answer without a URL cannot be read on', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1, { url: '' });
  const text = (await promise).text();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  expect(await rejection(text)).toMatchObject({ code: 'history_gone', offset: 0 });
});

test('5.12: a reader that was ended because its program took nothing reads on when that asks for more', async () => {
  const { reader, response, session } = await openBody();
  const body = response.body?.getReader();
  session.data(1, 0, 4, 'one ');
  session.data(1, 4, 7, 'two ');
  await body?.read();
  session.fail(1, 'reader_stalled', 7);
  await session.settle();
  expect(session.framesOf('read')).toEqual([]);
  await body?.read();
  const rest = body?.read();
  const read = await session.frame('read');
  expect(read).toMatchObject({ stream: 2, url: '/streams/abc', from: 7, overflow: 'coalesce' });
  // By its name the gateway knows who comes back.
  expect(read.reader).toBe(reader);
  session.respond(2);
  session.data(2, 7, 8, 'three');
  session.end(2);
  expect(new TextDecoder().decode((await rest)?.value)).toBe('three');
  expect((await body?.read())?.done).toBe(true);
});

test.each<[string, (session: FakeSession) => void]>([
  ['the history', (session) => session.fail(2, 'history_gone', 7)],
  ['the stream', (session) => session.fail(2, 'not_found', 0)],
  ['the stream, by HTTP', (session) => session.respond(2, { status: 404, url: '' })],
  [
    'the model',
    (session) => {
      session.respond(2);
      session.send({ type: 'end', stream: 2, state: 'cancelled' });
    },
  ],
  [
    'the model, in words',
    (session) => {
      session.respond(2);
      session.data(2, 7, 7, 'data: {"error": {}}');
      session.send({ type: 'end', stream: 2, state: 'cancelled' });
    },
  ],
])('5.12: when %s is gone, its body fails with what it was ended for', async (_what, answer) => {
  const { response, session } = await openBody();
  const body = response.body?.getReader();
  session.data(1, 0, 7, 'one');
  await body?.read();
  session.fail(1, 'reader_stalled', 7);
  await session.settle();
  const rest = rejection(body?.read() ?? Promise.resolve());
  await session.frame('read');
  answer(session);
  expect(await rest).toMatchObject({ code: 'reader_stalled', offset: 7 });
});

test('5.12: a reader that was ended keeps its name until it is back, whatever happens to its connection', async () => {
  const { gateway, reader, response, session } = await openBody();
  const body = response.body?.getReader();
  session.data(1, 0, 7, 'one');
  await body?.read();
  session.fail(1, 'reader_stalled', 7);
  await session.settle();
  const rest = body?.read();
  await session.frame('read');
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.fail(1, 'unknown_reader');
  const read = await next.frame('read');
  expect(read).toMatchObject({ from: 7, reader });
  next.respond(read.stream);
  next.data(read.stream, 7, 8, 'two');
  expect(new TextDecoder().decode((await rest)?.value)).toBe('two');
});

test('5.12: one that falls behind when it is back hears that, and not that what follows is gone', async () => {
  const { response, session } = await openBody();
  const body = response.body?.getReader();
  session.data(1, 0, 7, 'one');
  await body?.read();
  session.fail(1, 'reader_stalled', 7);
  await session.settle();
  const rest = rejection(body?.read() ?? Promise.resolve());
  await session.frame('read');
  session.respond(2);
  session.fail(2, 'reader_disconnected', 7);
  const error = await rest;
  expect(error).toMatchObject({ code: 'reader_disconnected', offset: 7 });
  expect(String(error)).not.toContain('gone');
});

test('5.6: what the gateway says by itself comes once, however often it is sent again', async () => {
  const { gateway, response, session } = await openBody();
  const text = response.text();
  session.data(1, 0, 5, 'one ');
  session.data(1, 5, 5, 'err');
  await session.settle();
  session.cut();
  const next = await gateway.session();
  expect(await next.frame('resume')).toMatchObject({ offset: 5 });
  next.respond(1);
  next.data(1, 5, 5, 'error');
  await next.settle();
  next.cut();
  const third = await gateway.session();
  await third.frame('resume');
  third.respond(1);
  third.data(1, 5, 5, 'er');
  third.data(1, 5, 5, 'ror');
  third.data(1, 5, 5, '!');
  third.send({ type: 'end', stream: 1, state: 'failed' });
  expect(await text).toBe('one error!');
});

test.each([
  ['a hole', 3],
  ['something again', 1],
])('5.7: %s after a resume is an error, and nothing of it is handed on', async (_what, from) => {
  const { gateway, response, session } = await openBody();
  session.data(1, 0, 2, 'one');
  const body = response.body?.getReader();
  await body?.read();
  session.cut();
  const next = await gateway.session();
  await next.frame('resume');
  next.respond(1);
  next.data(1, from, 9, 'nine');
  expect(await rejection(body?.read() ?? Promise.resolve())).toMatchObject({
    code: 'protocol_error',
    offset: 2,
  });
  expect(await next.frame('detach')).toEqual({ type: 'detach', stream: 1 });
});

test('a client gives up after a while', async () => {
  const gateway = await startFakeGateway();
  const clock = new VirtualClock();
  const { counts, WebSocket: Counted } = countSockets();
  const client = open({ url: gateway.url, clock, WebSocket: Counted });
  const promise = client.fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 3, 'one');
  const body = (await promise).body?.getReader();
  await body?.read();
  gateway.accepts = 'nothing';
  session.cut();
  await advanceUntil(clock, () => counts.closed === 1, 'the connection to be lost', 0);
  const errors: unknown[] = [];
  void rejection(body?.read() ?? Promise.resolve()).then((reason) => errors.push(reason));
  while (errors.length === 0 && clock.nowMs() < 70_000) {
    await clock.advance(100);
    await advanceUntil(clock, () => counts.closed === counts.made, 'each attempt to be refused', 0);
  }
  expect(clock.nowMs()).toBeGreaterThanOrEqual(60_000);
  expect(clock.nowMs()).toBeLessThan(61_000);
  expect(errors[0]).toMatchObject({ code: 'connection_lost', offset: 3 });
  expect(counts.made).toBeGreaterThan(2);
});

test('a gateway that closes as soon as it is asked does not count as back', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url, giveUpAfterMs: 500 })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.close(1012, 'shutting_down');
  void (async () => {
    for (;;) (await gateway.session()).close(1012, 'shutting_down');
  })();
  expect(await rejection(promise)).toMatchObject({ code: 'connection_lost' });
});

test('a request that comes while the connection is lost goes with the others', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const first = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  const text = (await first).text();
  gateway.accepts = 'nothing';
  session.cut();
  while (gateway.upgrades < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  const second = fetch(gateway.url + path, init);
  gateway.accepts = 'session';
  const next = await gateway.session();
  const resume = await next.frame('resume');
  const request = await next.frame('request');
  for (const { stream } of [resume, request]) {
    next.respond(stream);
    next.data(stream, 0, 1, `as ${stream}`);
    next.end(stream);
  }
  expect(await text).toBe('as 1');
  expect(await (await second).text()).toBe('as 2');
});
