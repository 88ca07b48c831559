import { expect, test } from 'vitest';
import { openFetch, rejection, streaming } from './support/clients.ts';
import { startFakeGateway } from './support/fake-gateway.ts';

const { init, path } = streaming;

test('3.4: an abort before the answer rejects and stops the model', async () => {
  const gateway = await startFakeGateway();
  const abort = new AbortController();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, { ...init, signal: abort.signal });
  const session = await gateway.session();
  await session.frame('request');
  abort.abort();
  expect(await rejection(promise)).toBe(abort.signal.reason);
  expect(await session.frame('cancel')).toEqual({ type: 'cancel', stream: 1 });
});

test('an abort with a reason rejects with it', async () => {
  const gateway = await startFakeGateway();
  const abort = new AbortController();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, { ...init, signal: abort.signal });
  const session = await gateway.session();
  await session.frame('request');
  abort.abort(new Error('Enough.'));
  expect(await rejection(promise)).toMatchObject({ message: 'Enough.' });
  await session.frame('cancel');
});

test('a request that is aborted already sends nothing', async () => {
  const gateway = await startFakeGateway();
  const signal = AbortSignal.abort();
  const fetch = openFetch({ url: gateway.url });
  expect(await rejection(fetch(gateway.url + path, { ...init, signal }))).toBe(signal.reason);
  expect(await rejection(fetch(new Request(gateway.url + path, { ...init, signal })))).toMatchObject({
    name: 'AbortError',
  });
  expect(gateway.upgrades).toBe(0);
});

test('an abort while the connection is opened sends no request', async () => {
  const gateway = await startFakeGateway({ greeting: '' });
  const abort = new AbortController();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, { ...init, signal: abort.signal });
  const session = await gateway.session();
  abort.abort();
  expect(await rejection(promise)).toBe(abort.signal.reason);
  session.send({ type: 'open', maxStreams: 1, maxMessageBytes: 1_048_576 });
  await session.settle();
  expect(session.frames.map((frame) => frame.type)).toEqual(['open']);
});

test.each(['the init', 'a Request'])(
  '3.4: an abort within the body fails it, by the signal of %s',
  async (by) => {
    const gateway = await startFakeGateway();
    const abort = new AbortController();
    const options = { ...init, signal: abort.signal };
    const fetch = openFetch({ url: gateway.url });
    const url = gateway.url + path;
    const promise = by === 'the init' ? fetch(url, options) : fetch(new Request(url, options));
    const session = await gateway.session();
    await session.frame('request');
    session.respond(1);
    const body = (await promise).body?.getReader();
    session.data(1, 0, 1, 'one');
    session.data(1, 1, 2, 'two');
    await body?.read();
    await session.settle();
    abort.abort();
    expect(await rejection(body?.read() ?? Promise.resolve())).toMatchObject({ name: 'AbortError' });
    expect(await session.frame('cancel')).toEqual({ type: 'cancel', stream: 1 });
    // What was on its way is nobody's.
    session.data(1, 2, 3, 'three');
    session.end(1);
    await session.settle();
    expect(session.framesOf('detach')).toEqual([]);
  },
);

test('3.4: to cancel the body stops the model', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'one');
  for await (const bytes of (await promise).body ?? []) {
    expect(bytes.length).toBe(3);
    break;
  }
  expect(await session.frame('cancel')).toEqual({ type: 'cancel', stream: 1 });
});

test('3.4: with `leave` it detaches', async () => {
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url, leave: 'detach' })(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  await (await promise).body?.cancel();
  expect(await session.frame('detach')).toEqual({ type: 'detach', stream: 1 });
});

test('an abort after the end, before all was read, fails the body and sends nothing', async () => {
  const gateway = await startFakeGateway();
  const abort = new AbortController();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, { ...init, signal: abort.signal });
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  session.data(1, 0, 1, 'one');
  session.end(1);
  await session.frame('detach');
  abort.abort();
  expect(await rejection((await promise).text())).toBe(abort.signal.reason);
  await session.settle();
  expect(session.framesOf('cancel')).toEqual([]);
});

test('an abort while the connection is lost ends the stream, and nobody comes back', async () => {
  const gateway = await startFakeGateway();
  const abort = new AbortController();
  const promise = openFetch({ url: gateway.url })(gateway.url + path, { ...init, signal: abort.signal });
  const session = await gateway.session();
  await session.frame('request');
  gateway.accepts = 'nothing';
  session.cut();
  await session.closed();
  abort.abort();
  expect(await rejection(promise)).toBe(abort.signal.reason);
});

test('close fails what runs, and detaches it', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const failed = rejection(fetch(gateway.url + path, init));
  const promise = fetch(gateway.url + path, init);
  const session = await gateway.session();
  await session.frame('request');
  await session.frame('request');
  session.respond(2);
  const response = await promise;
  await fetch.close();
  expect(await failed).toMatchObject({ code: 'closed' });
  expect(await rejection(response.text())).toMatchObject({ code: 'closed' });
  expect(session.framesOf('detach')).toHaveLength(2);
  expect(await session.closed()).toMatchObject({ code: 1000 });
  expect(await rejection(fetch(gateway.url + path, init))).toMatchObject({ code: 'closed' });
});

test('a signal that lives longer than its answers keeps no listener of them', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url });
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  signal.addEventListener = (_type: string, listener: unknown) => void listeners.add(listener);
  signal.removeEventListener = (_type: string, listener: unknown) => void listeners.delete(listener);
  const ask = () => fetch(gateway.url + path, { ...init, signal });

  // One whose end comes while it is waited for, one whose end comes before its last chunk is read, and one that fails.
  const early = ask();
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  const text = (await early).text();
  session.data(1, 0, 1, 'one');
  await session.settle();
  expect(listeners.size).toBe(1);
  session.end(1);
  expect(await text).toBe('one');

  const late = ask();
  await session.frame('request');
  session.respond(2);
  session.data(2, 0, 1, 'one');
  session.end(2);
  await session.settle();
  expect(listeners.size).toBe(1);
  expect(await (await late).text()).toBe('one');

  const failed = rejection(ask());
  await session.frame('request');
  session.send({ type: 'error', stream: 3, code: 'upstream_timeout', message: 'no', offset: 0 });
  expect(await failed).toMatchObject({ code: 'upstream_timeout' });
  expect(listeners.size).toBe(0);
});
