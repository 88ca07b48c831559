import { nodeClock } from '@spillway/server/time/node-clock';
import { openCredit } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { describe, expect, test } from 'vitest';
import { Arrivals, type RequestCarrier } from '@spillway/server/session/arrivals';
import type { SessionLine } from '@spillway/server/session/carrier';
import { SessionResponse } from '@spillway/server/session/session-response';
import { eventually, startBoth } from './support/processes.ts';
import { metric, simulatorStats } from './support/requests.ts';
import { chatRequest, newReader, openSession, type RawSession } from './support/session.ts';

const acknowledged = 'spillway_tokens_total{stage="acknowledged"}';
const stuck = 'sim:stall=2,tps=0,ttft=0';
const live = 'sim:tokens=1000000,tps=20,ttft=0';

async function errorOf(session: RawSession, stream: number): Promise<string | undefined> {
  return await eventually(() => session.of('error', stream)[0]?.code, `an error of stream ${stream}`);
}

/** That a session goes on, with a stream that says more. */
async function expectLife(session: RawSession, stream: number): Promise<void> {
  const before = session.offset(stream);
  session.send({ type: 'ack', stream, offset: before });
  await eventually(() => session.offset(stream) > before, 'the other stream to go on');
  expect(session.closed).toBeUndefined();
}

describe('5.8 a resume that cannot be served is the error of its stream, and of no other', () => {
  test.each([
    ['behind what was sent', 1_000_000],
    ['in front of what was acknowledged', 0],
  ])('%s', async (_where, offset) => {
    const { gateway } = await startBoth();
    const reader = newReader();
    const first = await openSession(gateway.url);
    first.send(chatRequest(stuck, { reader }));
    await eventually(() => first.data.length > 0, 'a chunk');
    const read = first.offset();
    first.send({ type: 'ack', stream: 1, offset: read });
    await eventually(async () => (await metric(gateway.adminUrl, acknowledged)) > 0, 'the ack to be there');
    const second = await openSession(gateway.url);
    second.send(chatRequest(live));
    await eventually(() => second.offset() > 0, 'a chunk of the other stream');
    const resume = { type: 'resume', reader, headers: {}, acked: 0 };
    second.send({ ...resume, stream: 2, offset });
    expect(await errorOf(second, 2)).toBe('unknown_reader');
    await expectLife(second, 1);
    // The reader is gone, and its stream can be read by its URL.
    second.send({ ...resume, stream: 3, offset: read });
    expect(await errorOf(second, 3)).toBe('unknown_reader');
    const url = first.of('response')[0]?.url ?? '';
    const again = { type: 'read', reader: newReader(), windowBytes: 65_536, url, headers: {}, from: 'start' };
    second.send({ ...again, stream: 4, overflow: 'coalesce' });
    await eventually(() => second.text(4) !== '' && second.text(4) === first.text(), 'the history');
  });

  test('of more than the window of its new connection', async () => {
    const { gateway } = await startBoth();
    const reader = newReader();
    const first = await openSession(gateway.url);
    first.send(chatRequest('sim:tokens=2000,tps=0,ttft=0', { reader }));
    await eventually(() => first.cost() > 8000, 'the window to be used');
    const second = await openSession(gateway.url, { windowBytes: 4096 });
    second.send(chatRequest(live, { windowBytes: 2048 }));
    await eventually(() => second.offset() > 0, 'a chunk of the other stream');
    second.send({ type: 'resume', stream: 2, reader, headers: {}, offset: first.offset(), acked: 0 });
    expect(await errorOf(second, 2)).toBe('unknown_reader');
    await expectLife(second, 1);
  });

  test('a reader that began at an offset, before its first chunk', async () => {
    const { gateway } = await startBoth();
    const owner = await openSession(gateway.url);
    owner.send(chatRequest('sim:tokens=60,tps=20,ttft=0'));
    await eventually(() => owner.offset() > 3, 'some chunks');
    const url = owner.of('response')[0]?.url ?? '';
    const reader = newReader();
    const from = owner.offset();
    const read = { type: 'read', stream: 1, reader, windowBytes: 16_384, url, headers: {}, from };
    // It is cut with nothing received, whatever was sent.
    const first = await openSession(gateway.url);
    first.send({ ...read, overflow: 'coalesce' });
    await eventually(() => first.of('response').length === 1, 'the answer');
    first.socket.terminate();
    const second = await openSession(gateway.url);
    second.send({ type: 'resume', stream: 1, reader, headers: {}, offset: from, acked: 0 });
    await eventually(() => second.data.length > 1, 'what follows');
    expect(second.data[0]?.from).toBe(from);
    expect(second.of('error')).toEqual([]);
    expect(second.closed).toBeUndefined();
  });

  test('of a reader that allows loss, in front of a gap that its connection took along', () => {
    const response = new SessionResponse({
      clock: nodeClock,
      format: openaiChat,
      answersErrors: false,
      windowBytes: 4096,
      url: () => '',
      onAck: () => undefined,
      onClose: () => undefined,
    });
    const sent: number[] = [];
    const line = (): SessionLine => ({
      credit: openCredit({ maxBytes: 4096, initial: { bytes: 4096 } }),
      windowBytes: 4096,
      isBlocked: false,
      untakenBytes: 0,
      isResuming: false,
      send: () => undefined,
      sendData: (_stream, from) => sent.push(from),
      delayMs: () => 0,
    });
    response.bind(line(), 1, 0, 0);
    const bytes = Buffer.from('data: {}\n\n');
    const write = (from: number, to: number): boolean =>
      response.write({ bytes, byteLength: bytes.length, events: 1 }, from, to);
    write(0, 1);
    response.gap({ bytes: 100, from: 1, to: 4, reason: 'drop-oldest' });
    write(4, 5);
    response.unbind({ isTakenOver: true });
    sent.length = 0;
    expect(response.bind(line(), 1, 1, 0)).toBe(false);
    expect(sent).toEqual([]);
    expect(response.bind(line(), 1, 4, 0)).toBe(true);
    expect(sent).toEqual([4]);
  });
});

test('5.8 while more readers come back, nothing new is sent', async () => {
  const { gateway } = await startBoth();
  const first = await openSession(gateway.url);
  const readers = [newReader(), newReader()];
  for (const [index, reader] of readers.entries()) {
    first.send(chatRequest(live, { reader, stream: index + 1, windowBytes: 65_536 }));
  }
  await eventually(() => first.offset(1) > 0 && first.offset(2) > 0, 'chunks of both');
  first.socket.terminate();
  const second = await openSession(gateway.url);
  const resumes = readers.map((reader, index) => {
    const stream = index + 1;
    return { type: 'resume', stream, reader, headers: {}, acked: 0, offset: first.offset(stream) };
  });
  second.send({ ...resumes[0], more: true });
  await eventually(() => second.of('response', 1).length === 1, 'the first to be back');
  // Its model says something all the time.
  await eventually(() => (second.of('lag', 1).at(-1)?.items ?? 0) > 0, 'something to wait');
  const before = second.data.length;
  await eventually(() => second.of('lag', 1).length > 2, 'some time to pass');
  expect(second.data.length).toBe(before);
  second.send({ ...resumes[1] });
  await eventually(
    () => second.offset(1) > first.offset(1) && second.offset(2) > first.offset(2),
    'both to go on',
  );
});

test('5.8 a pong stands behind all that was on its way', async () => {
  const { gateway } = await startBoth();
  const first = await openSession(gateway.url);
  const readers = [newReader(), newReader()];
  for (const [index, reader] of readers.entries()) {
    first.send(chatRequest(live, { reader, stream: index + 1, windowBytes: 65_536 }));
  }
  await eventually(() => first.data.length > 20, 'chunks of both');
  first.socket.terminate();
  const second = await openSession(gateway.url);
  const atPong = new Promise<readonly number[]>((resolve) => {
    second.socket.on('message', (message: Buffer, isBinary: boolean) => {
      if (!isBinary && message.toString() === '{"type":"pong"}')
        resolve([second.offset(1), second.offset(2)]);
    });
  });
  for (const [index, reader] of readers.entries()) {
    second.send({ type: 'resume', stream: index + 1, reader, headers: {}, acked: 0, offset: 0, more: true });
  }
  second.send({ type: 'ping' });
  const offsets = await atPong;
  expect(offsets[0]).toBeGreaterThanOrEqual(first.offset(1));
  expect(offsets[1]).toBeGreaterThanOrEqual(first.offset(2));
});

test('5.1 a name that another reader has is the error of its stream, and of no other', async () => {
  const { gateway, simulator } = await startBoth();
  const session = await openSession(gateway.url);
  const request = chatRequest(live);
  session.send(request);
  await eventually(() => session.offset() > 0, 'a chunk');
  session.send({ ...request, stream: 2 });
  await eventually(() => session.of('end', 2).length === 1, 'an end');
  expect(session.of('response', 2)[0]).toMatchObject({ status: 400, url: '' });
  expect(JSON.parse(session.text(2))).toMatchObject({ error: { code: 'invalid_request' } });
  const url = session.of('response', 1)[0]?.url ?? '';
  const { reader } = request;
  const read = { type: 'read', stream: 3, reader, windowBytes: 2048, url, headers: {}, from: 0 };
  session.send({ ...read, overflow: 'coalesce' });
  expect(await errorOf(session, 3)).toBe('invalid_request');
  await expectLife(session, 1);
  expect(await simulatorStats(simulator.url)).toHaveLength(1);
});

describe('5.9 a request without an answer', () => {
  const resume = { type: 'resume', headers: {}, offset: 0, acked: 0 } as const;

  test('that came over a session did arrive, one that did not come over it did not', async () => {
    const { gateway, simulator } = await startBoth(['--detach-grace-ms', '1']);
    const first = await openSession(gateway.url);
    const { session } = first.of('open')[0] ?? {};
    first.send(chatRequest(stuck, { stream: 3 }));
    await eventually(() => first.data.length > 0, 'a chunk');
    first.socket.terminate();
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the model to be stopped',
    );
    const second = await openSession(gateway.url);
    const ask = async (stream: number, more: object): Promise<string | undefined> => {
      second.send({ ...resume, stream, reader: newReader(), ...more });
      return await errorOf(second, stream);
    };
    expect(await ask(1, { session, request: 3 })).toBe('unknown_reader');
    expect(await ask(2, { session, request: 4 })).toBe('not_arrived');
    // What is known of no session, or of this one, which may still bring it, is no proof.
    expect(await ask(3, { session: newReader(), request: 4 })).toBe('unknown_reader');
    expect(await ask(4, {})).toBe('unknown_reader');
    expect(await ask(5, { session: second.of('open')[0]?.session, request: 9 })).toBe('unknown_reader');
    expect(second.closed).toBeUndefined();
  });

  test('that was refused did not run, and may be sent again', async () => {
    const { gateway } = await startBoth();
    const first = await openSession(gateway.url);
    const { session } = first.of('open')[0] ?? {};
    first.send({ ...chatRequest(stuck), path: '/nowhere' });
    await eventually(() => first.of('end').length === 1, 'the refusal');
    first.socket.terminate();
    const second = await openSession(gateway.url);
    second.send({ ...resume, stream: 1, reader: newReader(), session, request: 1 });
    expect(await errorOf(second, 1)).toBe('not_arrived');
  });

  test('that its connection still may bring: that connection is over, and its readers may come back', async () => {
    const { gateway, simulator } = await startBoth();
    const first = await openSession(gateway.url);
    const { session } = first.of('open')[0] ?? {};
    const reader = newReader();
    first.send(chatRequest(live, { reader }));
    await eventually(() => first.offset() > 0, 'a chunk');
    const second = await openSession(gateway.url);
    second.send({ ...resume, stream: 1, reader: newReader(), session, request: 2 });
    // It does not see that it is closed.
    first.socket.pause();
    expect(await errorOf(second, 1)).toBe('not_arrived');
    first.send(chatRequest(live, { stream: 2 }));
    first.socket.resume();
    await eventually(() => first.closed?.code === 4409, 'the first to be closed');
    second.send({ ...resume, stream: 2, reader, offset: 0, acked: 0 });
    await eventually(() => second.offset(2) > 0, 'the reader to go on');
    expect(await simulatorStats(simulator.url)).toHaveLength(1);
    expect(await metric(gateway.adminUrl, 'spillway_streams')).toBe(1);
  });
});

describe('arrivals', () => {
  const carrier = (id: string, lastRequest: number): RequestCarrier & { isAbandoned: boolean } => ({
    id,
    lastRequest,
    isAbandoned: false,
    closeAsLost() {
      this.isAbandoned = true;
    },
  });

  test('are remembered of so many sessions and for so long: beyond that nothing is known', () => {
    const arrivals = new Arrivals();
    const asking = carrier('asking', 0);
    const all = Array.from({ length: 10_001 }, (_, index) => carrier(`${index}`, index));
    for (const one of all) arrivals.opened(one);
    for (const one of all) arrivals.closed(one, 0);
    expect(arrivals.isMissing('0', 1, asking, 0)).toBe(false);
    expect(arrivals.isMissing('1', 1, asking, 0)).toBe(false);
    expect(arrivals.isMissing('1', 2, asking, 0)).toBe(true);
    expect(arrivals.isMissing('10000', 10_001, asking, 599_999)).toBe(true);
    expect(arrivals.isMissing('10000', 10_001, asking, 600_000)).toBe(false);
  });

  test('of a session that is open is asked when nothing more can arrive', () => {
    const arrivals = new Arrivals();
    const open = carrier('open', 3);
    arrivals.opened(open);
    expect(arrivals.isMissing('open', 4, open, 0)).toBe(false);
    expect(open.isAbandoned).toBe(false);
    expect(arrivals.isMissing('open', 3, carrier('asking', 0), 0)).toBe(false);
    expect(open.isAbandoned).toBe(true);
    expect(arrivals.isMissing('open', 4, carrier('asking', 0), 0)).toBe(true);
  });
});
