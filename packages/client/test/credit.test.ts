import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, onTestFinished, test } from 'vitest';
import { openFetch, rejection, streaming } from './support/clients.ts';
import { type FakeSession, startFakeGateway } from './support/fake-gateway.ts';
import type { ClientOptions } from '@spillway/client';

const { init, path } = streaming;
/** With its overhead, a frame of this costs 1000 bytes of a window. */
const chunk = 'x'.repeat(744);

async function openBody(options: Partial<ClientOptions> = {}): Promise<{
  session: FakeSession;
  body: ReadableStreamDefaultReader<Uint8Array>;
  clock: VirtualClock;
}> {
  // It stands still: what comes without it is not due to a timer.
  const clock = new VirtualClock();
  const gateway = await startFakeGateway();
  const promise = openFetch({ url: gateway.url, windowBytes: 10_000, clock, ...options })(
    gateway.url + path,
    init,
  );
  const session = await gateway.session();
  await session.frame('request');
  session.respond(1);
  const response = await promise;
  if (response.body === null) throw new Error('It should have a body.');
  return { session, body: response.body.getReader(), clock };
}

function fill(session: FakeSession, from: number, to: number): void {
  for (let offset = from; offset < to; offset++) session.data(1, offset, offset + 1, chunk);
}

test('5.4, 5.5: a consumer that does not read acknowledges nothing', async () => {
  const { body, clock, session } = await openBody();
  fill(session, 0, 10);
  await session.settle();
  await clock.advance(10_000);
  // One was handed over, and nobody says that it is consumed.
  await body.read();
  await clock.advance(10_000);
  await session.settle();
  expect(session.framesOf('ack')).toEqual([]);
});

test('5.5: an ack comes when half of the window is consumed, and stands for all before it', async () => {
  const { body, session } = await openBody();
  fill(session, 0, 10);
  for (let count = 0; count < 6; count++) await body.read();
  // Five were consumed when the sixth was asked for.
  expect(await session.frame('ack')).toEqual({ type: 'ack', stream: 1, offset: 5 });
  fill(session, 10, 15);
  for (let count = 0; count < 5; count++) await body.read();
  expect(await session.frame('ack')).toEqual({ type: 'ack', stream: 1, offset: 10 });
  expect(session.framesOf('ack')).toHaveLength(2);
});

test('5.5: what is consumed is acknowledged after a while, however little it is', async () => {
  const { body, clock, session } = await openBody();
  fill(session, 0, 3);
  await body.read();
  await body.read();
  await clock.advance(199);
  await session.settle();
  expect(session.framesOf('ack')).toEqual([]);
  await clock.advance(1);
  expect(await session.frame('ack')).toEqual({ type: 'ack', stream: 1, offset: 1 });
});

test('a consumer that waits has acknowledged what matters', async () => {
  const { body, session } = await openBody();
  fill(session, 0, 3);
  for (let count = 0; count < 3; count++) await body.read();
  body.read().catch(() => {});
  expect((await session.frame('ack')).offset).toBe(3);
});

test('5.4: a chunk that is larger than the whole window comes when all of it is free', async () => {
  const { body, session } = await openBody();
  session.data(1, 0, 1, chunk);
  await body.read();
  const waiting = body.read();
  session.send({ type: 'lag', stream: 1, items: 1, bytes: 50_000 });
  expect((await session.frame('ack')).offset).toBe(1);
  session.data(1, 1, 9, 'y'.repeat(50_000));
  expect((await waiting).value?.length).toBe(50_000);
  body.read().catch(() => {});
  expect((await session.frame('ack')).offset).toBe(9);
});

test('half of the connection’s window is acknowledged for all streams', async () => {
  const gateway = await startFakeGateway();
  const fetch = openFetch({ url: gateway.url, windowBytes: 100_000, connectionWindowBytes: 10_000 });
  const promises = [fetch(gateway.url + path, init), fetch(gateway.url + path, init)];
  const session = await gateway.session();
  for (const stream of [1, 2]) {
    await session.frame('request');
    session.respond(stream);
    for (let offset = 0; offset < 5; offset++) session.data(stream, offset, offset + 1, chunk);
  }
  const [first, second] = await Promise.all(promises);
  const bodies = [first?.body?.getReader(), second?.body?.getReader()];
  for (let count = 0; count < 3; count++) for (const body of bodies) await body?.read();
  for (const body of bodies) await body?.read();
  await session.settle();
  expect(session.framesOf('ack')).toContainEqual({ type: 'ack', stream: 1, offset: 3 });
  expect(session.framesOf('ack')).toContainEqual({ type: 'ack', stream: 2, offset: 2 });
});

test('an ack waits while much else waits in the socket, and then stands for all', async () => {
  let waitingBytes = 0;
  class SlowWebSocket extends WebSocket {
    override get bufferedAmount(): number {
      return waitingBytes;
    }
  }
  const { body, clock, session } = await openBody({ WebSocket: SlowWebSocket });
  waitingBytes = 65_537;
  fill(session, 0, 10);
  for (let count = 0; count < 7; count++) await body.read();
  await clock.advance(10_000);
  await session.settle();
  expect(session.framesOf('ack')).toEqual([]);
  await body.read();
  waitingBytes = 0;
  await clock.advance(200);
  expect((await session.frame('ack')).offset).toBe(7);
  expect(session.framesOf('ack')).toHaveLength(1);
});

test('a page that nobody sees acknowledges at once: its timers are late', async () => {
  const { body, session } = await openBody();
  Object.assign(globalThis, { document: { visibilityState: 'hidden' } });
  onTestFinished(() => void Reflect.deleteProperty(globalThis, 'document'));
  fill(session, 0, 3);
  await body.read();
  await body.read();
  await session.settle();
  expect(session.framesOf('ack')).toEqual([{ type: 'ack', stream: 1, offset: 1 }]);
});

test('5.4: more than the window allows is an error, and no more is held', async () => {
  const { body, session } = await openBody();
  fill(session, 0, 11);
  await session.frame('detach');
  for (let count = 0; count < 10; count++) expect((await body.read()).value?.length).toBe(744);
  expect(await rejection(body.read())).toMatchObject({ code: 'protocol_error', offset: 10 });
});

test('5.4: more than the connection’s window allows is one too', async () => {
  const { body, session } = await openBody({ connectionWindowBytes: 5000 });
  fill(session, 0, 6);
  await session.frame('detach');
  for (let count = 0; count < 5; count++) await body.read();
  expect(await rejection(body.read())).toMatchObject({ code: 'protocol_error', offset: 5 });
});

test('5.6: what the gateway says by itself needs no ack, and has a bound nevertheless', async () => {
  const { body, session } = await openBody();
  for (let count = 0; count < 3; count++) session.data(1, 0, 0, 'z'.repeat(300_000));
  await session.settle();
  for (let count = 0; count < 3; count++) expect((await body.read()).value?.length).toBe(300_000);
  for (let count = 0; count < 5; count++) session.data(1, 0, 0, 'z'.repeat(300_000));
  await session.frame('detach');
  expect(session.framesOf('ack')).toEqual([]);
  for (let count = 0; count < 3; count++) await body.read();
  expect(await rejection(body.read())).toMatchObject({ code: 'protocol_error' });
});
