import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { describe, expect, test } from 'vitest';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { metric, payloads, postChat, simulatorStats } from './support/requests.ts';
import { chatRequest, newReader, openSession, RawSession } from './support/session.ts';

const cancelled = 'spillway_streams_ended_total{state="cancelled"}';

/** The characters of all deltas. */
function textOf(events: string): string {
  return payloads(events)
    .filter((payload) => payload !== '[DONE]')
    .map((payload) => {
      const { choices } = JSON.parse(payload) as {
        choices: readonly { readonly delta: { readonly content?: string } }[];
      };
      return choices[0]?.delta.content ?? '';
    })
    .join('');
}

/** What the simulator says, whatever the request's number. */
async function expectedText(url: string, model: string): Promise<string> {
  return textOf(await (await postChat(url, model)).text());
}

/** Acknowledges everything that comes, as it comes. */
function acknowledgeAll(session: RawSession, stream = 1): void {
  let acked = 0;
  session.socket.on('message', (_message, isBinary) => {
    const last = session.data.findLast((frame) => frame.stream === stream && frame.to > frame.from);
    if (!isBinary || last === undefined || last.to <= acked) return;
    acked = last.to;
    session.send({ type: 'ack', stream, offset: last.to });
  });
}

describe('a session', () => {
  test('5.2 carries a request and its answer, with the provider’s bytes', async () => {
    const { gateway } = await startBoth();
    const session = await openSession(gateway.url);
    acknowledgeAll(session);
    session.send(chatRequest('sim:tokens=30,tps=0,ttft=0'));
    await eventually(() => session.of('end').length === 1, 'the end');
    expect(session.of('response')[0]).toMatchObject({ status: 200, stream: 1 });
    expect(session.of('response')[0]?.url).toMatch(/^\/streams\/[\w-]{32}$/);
    expect(session.of('response')[0]?.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(textOf(session.text())).toBe(await expectedText(gateway.url, 'sim:tokens=30,tps=0,ttft=0'));
    expect(session.text()).toContain('data: [DONE]');
    expect(session.of('end')[0]).toEqual({ type: 'end', stream: 1, state: 'completed' });
  });

  test('5.7 has no holes, and many streams at once', async () => {
    const { gateway } = await startBoth();
    const session = await openSession(gateway.url);
    const streams = Array.from({ length: 20 }, (_, index) => index + 1);
    for (const stream of streams) {
      acknowledgeAll(session, stream);
      session.send(chatRequest(`sim:tokens=${20 + stream},tps=0,ttft=0`, { stream }));
    }
    await eventually(() => session.of('end').length === streams.length, 'all ends');
    for (const stream of streams) {
      const frames = session.data.filter((frame) => frame.stream === stream);
      let at = 0;
      for (const { from, to } of frames) {
        expect(from).toBe(at);
        at = to;
      }
      expect(textOf(session.text(stream)).split(' ').length).toBeGreaterThanOrEqual(20);
    }
  });

  test('5.4 sends no more than the window, and merges what waits', async () => {
    const { gateway, simulator } = await startBoth();
    const session = await openSession(gateway.url);
    const model = 'sim:tokens=2000,tps=0,ttft=0';
    session.send(chatRequest(model, { windowBytes: 17_408 }));
    // The whole reply fits into the gateway's window when it is merged, so the provider need not wait.
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'finished',
      'the provider to finish',
    );
    expect(session.cost()).toBeLessThanOrEqual(17_408);
    await eventually(() => session.of('lag').length > 0, 'its lag');
    acknowledgeAll(session);
    session.send({ type: 'ack', stream: 1, offset: session.offset() });
    await eventually(() => session.of('end').length === 1, 'the end');
    expect(textOf(session.text())).toBe(await expectedText(gateway.url, model));
    // Most of it came in a few large events.
    expect(payloads(session.text()).length).toBeLessThan(200);
  });

  test('5.4 shares the window of the connection', async () => {
    const { gateway } = await startBoth();
    const session = await openSession(gateway.url, { windowBytes: 34_816 });
    for (const stream of [1, 2, 3, 4]) {
      session.send(chatRequest('sim:tokens=2000,tps=0,ttft=0', { stream, windowBytes: 17_408 }));
    }
    // What waits for all of them is told once nothing more is sent.
    await eventually(() => [1, 2, 3, 4].every((stream) => session.of('lag', stream).length > 1), 'their lag');
    const used = [1, 2, 3, 4].reduce((sum, stream) => sum + session.cost(stream), 0);
    expect(used).toBeLessThanOrEqual(34_816);
  });

  test('3.4 cancel stops the model at once', async () => {
    const { gateway, simulator } = await startBoth();
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim:stall=3,tps=0,ttft=0'));
    await eventually(() => session.data.length > 0, 'the first chunk');
    session.send({ type: 'cancel', stream: 1 });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, cancelled)).toBe(1);
    // 5.14
    session.send({ type: 'ack', stream: 1, offset: 1 });
    session.send({ type: 'ping' });
    await eventually(() => session.of('pong').length === 1, 'the session to be alive');
  });

  test.each([
    ['cancel', 'left'],
    ['finish', 'finished'],
  ])('3.5 detach, with %s', async (detach, state) => {
    const { gateway, simulator } = await startBoth(['--detach', detach]);
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim:tokens=100,tps=100,ttft=0'));
    await eventually(() => session.data.length > 0, 'the first chunk');
    session.send({ type: 'detach', stream: 1 });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === state,
      'the provider to be done',
    );
  });

  test('3.5 detach, with grace', async () => {
    const { gateway, simulator } = await startBoth(['--detach-grace-ms', '1500']);
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim:stall=3,tps=0,ttft=0'));
    await eventually(() => session.data.length > 0, 'the first chunk');
    session.socket.terminate();
    await eventually(() => session.closed !== undefined, 'the connection to be gone');
    expect((await simulatorStats(simulator.url))[0]?.state).toBe('stalled');
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
  });

  test('3.6 a stream that one reader cancels is cancelled for the other', async () => {
    const { gateway } = await startBoth();
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim:stall=3,tps=0,ttft=0'));
    await eventually(() => session.of('response').length === 1, 'the response');
    const url = session.of('response')[0]?.url ?? '';
    const read = { type: 'read', windowBytes: 4096, url, headers: {}, from: 'start', overflow: 'disconnect' };
    session.send({ ...read, stream: 2, reader: newReader() });
    await eventually(() => session.text(2) !== '' && session.text(2) === session.text(1), 'both to read');
    session.send({ type: 'cancel', stream: 1 });
    await eventually(() => session.of('end', 2).length === 1, 'the end');
    expect(session.of('end', 2)[0]?.state).toBe('cancelled');
  });

  test('5.12 a reader that acknowledges nothing is ended', async () => {
    const { gateway, simulator } = await startBoth(
      '--stall-timeout-ms 1000 --pause-ms 1000 --detach-grace-ms 1000'.split(' '),
    );
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim:stall=3000,tokens=3001,tps=0,ttft=0'));
    await eventually(() => session.of('error').length === 1, 'the reader to be ended');
    expect(session.of('error')[0]).toMatchObject({ code: 'reader_stalled', stream: 1 });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
  });

  test('5.2 errors are the answer', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'secret-key' } });
    const session = await openSession(gateway.url);
    session.send(chatRequest('sim'));
    session.send(chatRequest('sim', { stream: 2, headers: { authorization: 'Bearer wrong' } }));
    session.send(
      chatRequest('sim:status=429,retryAfter=99', {
        stream: 3,
        headers: { Authorization: 'Bearer secret-key' },
      }),
    );
    session.send({
      ...chatRequest('sim:tokens=1,ttft=0,tps=0', { stream: 4 }),
      headers: { 'x-api-key': 'secret-key' },
    });
    await eventually(() => session.of('end').length === 4, 'all ends');
    expect(session.of('response', 1)[0]).toMatchObject({ status: 401, url: '' });
    expect(session.of('response', 2)[0]).toMatchObject({ status: 401 });
    expect(session.of('response', 3)[0]).toMatchObject({ status: 429 });
    expect(session.of('response', 4)[0]).toMatchObject({ status: 200 });
    expect(JSON.parse(session.text(1))).toMatchObject({ error: { code: 'invalid_api_key' } });
    expect(gateway.stderr()).not.toContain('secret-key');
  });
});

describe('5.8 a reader that lost its connection', () => {
  test('gets what it missed, once and in order, wherever it was cut', async () => {
    const { gateway } = await startBoth();
    const model = 'sim:tokens=400,tps=800,ttft=0';
    const reader = newReader();
    let received = '';
    let offset = 0;
    let acked = 0;
    let cuts = 0;
    const first = await openSession(gateway.url);
    first.send(chatRequest(model, { reader }));
    let session = first;
    for (; cuts < 8; cuts += 1) {
      const before = offset;
      await eventually(() => session.offset() > before || session.of('end').length > 0, 'something new');
      // Some of it was consumed, and some of that was said.
      const consumed = session.data.at(Math.floor(session.data.length / 2) - 1)?.to ?? acked;
      if (cuts % 2 === 0 && consumed > acked) session.send({ type: 'ack', stream: 1, offset: consumed });
      session.socket.terminate();
      await eventually(() => session.closed !== undefined, 'the connection to be gone');
      acked = Math.max(acked, consumed);
      received += session.text();
      offset = Math.max(offset, session.offset());
      session = await openSession(gateway.url);
      session.send({ type: 'resume', stream: 1, reader, headers: {}, offset, acked });
    }
    acknowledgeAll(session);
    const last = session;
    await eventually(() => last.of('end').length === 1, 'the end');
    received += last.text();
    expect(textOf(received)).toBe(await expectedText(gateway.url, 'sim:tokens=400,tps=0,ttft=0'));
  });

  test('is merged for while it is away, and the model goes on', async () => {
    const { gateway, simulator } = await startBoth();
    const model = 'sim:tokens=2000,tps=0,ttft=0';
    const reader = newReader();
    const first = await openSession(gateway.url);
    first.send(chatRequest(model, { reader, windowBytes: 2048 }));
    await eventually(() => first.cost() > 1000, 'the window to be used');
    first.socket.terminate();
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'finished',
      'the provider to finish',
    );
    const second = await openSession(gateway.url);
    acknowledgeAll(second);
    second.send({
      type: 'resume',
      stream: 7,
      reader,
      headers: {},
      offset: first.offset(),
      acked: first.offset(),
    });
    await eventually(() => second.of('end', 7).length === 1 || second.offset(7) > 0, 'something');
    second.send({ type: 'ack', stream: 7, offset: second.offset(7) });
    acknowledgeAll(second, 7);
    await eventually(() => second.of('end', 7).length === 1, 'the end');
    expect(textOf(first.text() + second.text(7))).toBe(await expectedText(gateway.url, model));
  });

  test('is taken over from a connection that still seems to live', async () => {
    const { gateway } = await startBoth();
    const reader = newReader();
    const first = await openSession(gateway.url);
    first.send(chatRequest('sim:tokens=300,tps=300,ttft=0', { reader }));
    await eventually(() => first.data.length > 3, 'some chunks');
    const second = await openSession(gateway.url);
    acknowledgeAll(second);
    second.send({ type: 'resume', stream: 1, reader, headers: {}, offset: 0, acked: 0 });
    await eventually(() => first.closed?.code === 4409, 'the first to be closed');
    await eventually(() => second.of('end').length === 1, 'the end');
    expect(textOf(second.text())).toBe(await expectedText(gateway.url, 'sim:tokens=300,tps=0,ttft=0'));
  });

  test('5.9 is not known with another key, or after its time', async () => {
    const { gateway } = await startBoth(['--detach-grace-ms', '1000']);
    const reader = newReader();
    const first = await openSession(gateway.url);
    const key = { authorization: 'Bearer one' };
    first.send(chatRequest('sim:stall=2,tps=0,ttft=0', { reader, headers: key }));
    await eventually(() => first.data.length > 0, 'a chunk');
    const second = await openSession(gateway.url);
    const resume = { type: 'resume', reader, offset: 0, acked: 0 };
    second.send({ ...resume, stream: 1, headers: { authorization: 'Bearer two' } });
    second.send({ ...resume, stream: 2, headers: key, reader: newReader() });
    await eventually(() => second.of('error').length === 2, 'both errors');
    expect(second.of('error').map(({ code }) => code)).toEqual(['unknown_reader', 'unknown_reader']);
    first.socket.terminate();
    await eventually(async () => (await metric(gateway.adminUrl, cancelled)) === 1, 'its time to be over');
    second.send({ ...resume, stream: 3, headers: key });
    await eventually(() => second.of('error', 3).length === 1, 'the error');
  });
});

describe('5.13, promise 10: a frame that breaks a rule ends the session and leaves nothing', () => {
  const request = chatRequest('sim:stall=3,tps=0,ttft=0');
  const frames: readonly (readonly [string, string | Record<string, unknown>, number])[] = [
    ['no JSON', 'nonsense', 4400],
    ['no object', '7', 4400],
    ['no type', {}, 4400],
    ['an unknown type', { type: 'credit', stream: 1, bytes: 5 }, 4400],
    ['a second open', { type: 'open', windowBytes: 4096 }, 4400],
    ['an unknown field', { type: 'ack', stream: 1, offset: 1, more: true }, 4400],
    ['a negative ack', { type: 'ack', stream: 1, offset: -1 }, 4400],
    ['a fractional ack', { type: 'ack', stream: 1, offset: 0.5 }, 4400],
    ['a huge ack', { type: 'ack', stream: 1, offset: 2 ** 53 }, 4400],
    ['an ack beyond what was sent', { type: 'ack', stream: 1, offset: 1_000_000 }, 4401],
    ['an ack of nothing', { type: 'ack', stream: 1, offset: 0 }, 4401],
    ['an ack for a stream that never was', { type: 'ack', stream: 99, offset: 1 }, 4400],
    ['a cancel for a stream that never was', { type: 'cancel', stream: 99 }, 4400],
    ['a stream twice', { ...request, reader: newReader() }, 4400],
    ['a reader that could be guessed', { ...request, stream: 2, reader: 'me' }, 4400],
    ['a window of nothing', { ...request, stream: 2, reader: newReader(), windowBytes: 0 }, 4400],
    ['a stream of number 0', { ...request, stream: 0, reader: newReader() }, 4400],
    [
      'a header with a line end',
      { ...request, stream: 2, reader: newReader(), headers: { a: 'b\r\nc: d' } },
      4400,
    ],
    ['a message that is too large', 'x'.repeat(1_100_000), 1009],
  ];
  test.each(frames)('%s', async (_name, frame, code) => {
    const { gateway, simulator } = await startBoth();
    const session = await openSession(gateway.url);
    session.send(request);
    await eventually(() => session.data.length > 0, 'a chunk');
    session.send(frame);
    await eventually(() => session.closed !== undefined, 'the session to end');
    expect(session.closed?.code).toBe(code);
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, 'spillway_streams')).toBe(0);
  });

  test('a late duplicate of an ack', async () => {
    const { gateway } = await startBoth();
    const session = await openSession(gateway.url);
    session.send(request);
    await eventually(() => session.data.length > 0, 'a chunk');
    const ack = { type: 'ack', stream: 1, offset: session.offset() };
    session.send(ack);
    session.send(ack);
    await eventually(() => session.closed?.code === 4401, 'the session to end');
  });

  test('a binary message, too many streams, something before open', async () => {
    const { gateway } = await startBoth(['--max-session-streams', '2']);
    const binary = await openSession(gateway.url);
    binary.socket.send(Buffer.from('hello'));
    await eventually(() => binary.closed?.code === 4400, 'the session to end');
    const greedy = await openSession(gateway.url);
    for (const stream of [1, 2, 3]) greedy.send(chatRequest('sim:stall=1', { stream }));
    await eventually(() => greedy.closed?.code === 4429, 'the session to end');
    const hasty = new RawSession(gateway.url);
    await eventually(() => hasty.of('open').length === 1, 'the session to be open');
    hasty.send({ type: 'ping' });
    await eventually(() => hasty.closed?.code === 4400, 'the session to end');
  });
});

describe('5.3 an upgrade', () => {
  const local = 'http://127.0.0.1:5173';
  test.each([
    ['without keys, no page', {}, {}, 101],
    ['without keys, a page of this machine', {}, { origin: local }, 101],
    ['without keys, another page', {}, { origin: 'https://evil.example' }, 403],
    [
      'without keys, an allowed page',
      { SPILLWAY_ALLOWED_ORIGINS: 'https://app.example' },
      { origin: 'https://app.example' },
      101,
    ],
    ['without keys, another name of this machine', {}, { host: 'evil.example' }, 403],
    ['with keys, no page', { SPILLWAY_API_KEYS: 'k' }, {}, 101],
    ['with keys, a page of this machine', { SPILLWAY_API_KEYS: 'k' }, { origin: local }, 403],
    [
      'with keys, a page of its own',
      { SPILLWAY_API_KEYS: 'k' },
      { host: 'gw.example', origin: 'https://gw.example' },
      101,
    ],
    [
      'with keys, an allowed page',
      { SPILLWAY_API_KEYS: 'k', SPILLWAY_ALLOWED_ORIGINS: 'https://app.example' },
      { origin: 'https://app.example' },
      101,
    ],
  ])('%s', async (_name, env: Record<string, string>, headers: Record<string, string>, status) => {
    const gateway = await startGateway([], { env });
    const session = new RawSession(gateway.url, headers);
    let refused = 0;
    session.socket.on('unexpected-response', (_request, response) => {
      refused = response.statusCode ?? 0;
    });
    await eventually(() => session.of('open').length === 1 || refused !== 0, 'an answer');
    expect(refused === 0 ? 101 : refused).toBe(status);
  });

  test('to HTTP/2 is no upgrade: the answer is HTTP/1.1', async () => {
    const gateway = await startGateway();
    const { hostname, port } = new URL(gateway.url);
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' };
    const asked = httpRequest({ hostname, port, path: '/health/live', headers }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(200);
  });

  test('needs the subprotocol and its path', async () => {
    const gateway = await startGateway();
    const answers: number[] = [];
    for (const [url, protocols] of [
      [gateway.url, []],
      [gateway.url, 'graphql-ws'],
      [`${gateway.url}/v1`, 'spillway.v1'],
    ] as const) {
      const session = new RawSession(url, {}, [protocols].flat());
      session.socket.on('unexpected-response', (_request, response) =>
        answers.push(response.statusCode ?? 0),
      );
    }
    await eventually(() => answers.length === 3, 'all answers');
    expect(answers.toSorted((a, b) => a - b)).toEqual([400, 400, 404]);
  });
});
