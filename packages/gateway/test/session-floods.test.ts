import { describe, expect, test } from 'vitest';
import {
  eventually,
  gatewayForAll,
  residentBytes,
  startBoth,
  startGateway,
  watchMemory,
} from './support/processes.ts';
import { chatBody, metric } from './support/requests.ts';
import { clientFrame, RawWebSocket, textFrame } from './support/raw-websocket.ts';
import { chatRequest, newReader, openSession } from './support/session.ts';

const mebibyte = 1_048_576;
const secret = { env: { SPILLWAY_API_KEYS: 'secret-key' } };
const withKey = { authorization: 'Bearer secret-key' };
const open = textFrame({ type: 'open', windowBytes: 65_536 });

function repeat(count: number, frame: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => frame(index)));
}

function refused(stream: number): Buffer {
  return textFrame({ ...chatRequest('sim', { stream }), body: '' });
}

function unknown(stream: number): Buffer {
  return textFrame({ type: 'resume', stream, reader: newReader(), headers: {}, offset: 0, acked: 0 });
}

/** What makes the gateway write, a few megabytes of it. */
const floods: readonly (readonly [string, () => Buffer])[] = [
  [
    'ping frames, of somebody with a key',
    () =>
      Buffer.concat([
        textFrame({ ...chatRequest('sim', { headers: withKey }), body: '{' }),
        repeat(250_000, () => textFrame({ type: 'ping' })),
      ]),
  ],
  ['pings of the WebSocket', () => repeat(150_000, () => clientFrame('ping', 'x'.repeat(125)))],
  ['resumes of unknown readers', () => repeat(150_000, (index) => unknown(index + 1))],
  ['refused requests', () => repeat(60_000, (index) => refused(index + 1))],
  [
    'refused requests that are released',
    () =>
      repeat(60_000, (index) =>
        Buffer.concat([refused(index + 1), textFrame({ type: 'detach', stream: index + 1 })]),
      ),
  ],
  [
    'reads of what is not there',
    () =>
      repeat(150_000, (index) =>
        textFrame({
          type: 'read',
          stream: index + 1,
          reader: newReader(),
          windowBytes: 1024,
          url: '/streams/none',
          headers: {},
          from: 0,
          overflow: 'latest',
        }),
      ),
  ],
];

describe('whatever a client makes the gateway write is bounded by what it reads', () => {
  test.each(floods)(
    '%s',
    async (_name, makeFlood) => {
      const gateway = await startGateway(
        ['--stall-timeout-ms', '3000', '--max-session-streams', '10000'],
        // With much room V8 would let garbage lie for long, and nobody could tell it from what is held.
        { ...secret, nodeArgs: ['--max-old-space-size=64'] },
      );
      const before = residentBytes(gateway);
      const flood = makeFlood();
      const clients = await Promise.all(Array.from({ length: 4 }, () => RawWebSocket.open(gateway.url)));
      for (const client of clients) {
        client.write(open);
        client.socket.pause();
        client.write(flood);
      }
      const most = watchMemory(gateway);
      // Millions of frames: on a machine that has much else to do they take long.
      await eventually(
        async () => {
          const stalled = await metric(gateway.adminUrl, 'spillway_sessions_ended_total{reason="stalled"}');
          return stalled === clients.length;
        },
        'all of them to be released',
        100_000,
      );
      expect((most() - before) / mebibyte).toBeLessThan(64);
      expect(await metric(gateway.adminUrl, 'spillway_sessions_unread')).toBe(0);
    },
    120_000,
  );

  test('a client that takes nothing is not read on', async () => {
    const gateway = await startGateway(['--stall-timeout-ms', '120000'], secret);
    const client = await RawWebSocket.open(gateway.url);
    client.write(open);
    client.socket.pause();
    // Beyond what the kernel holds both ways.
    const most = 800;
    const pings = repeat(500, () => clientFrame('ping', 'x'.repeat(125)));
    let taken = 0;
    const writeOn = (): void => {
      client.socket.write(pings, () => {
        taken += 1;
        if (taken < most) writeOn();
      });
    };
    writeOn();
    let unread = 0;
    let before = -1;
    // An answer of the gateway says that it has had a turn, in which it reads what it wants to.
    for (let turns = 0; turns < 200; turns += 1) {
      unread = await metric(gateway.adminUrl, 'spillway_sessions_unread');
      if (taken > before) turns = 0;
      if (taken === most) break;
      before = taken;
    }
    expect(taken).toBeLessThan(most);
    expect(unread).toBe(1);
  });

  test('and nobody waits for the other: who sends much and reads later gets everything', async () => {
    const gateway = await startGateway([], secret);
    const client = await RawWebSocket.open(gateway.url);
    client.write(open);
    client.socket.pause();
    const count = 200_000;
    client.write(repeat(count, () => textFrame({ type: 'ping' })));
    client.write(
      repeat(5000, (index) => unknown(index + 1)),
      clientFrame('ping', 'last'),
    );
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_sessions_unread')) === 1,
      'the session to be read no more',
    );
    client.socket.resume();
    await eventually(() => client.count('unknown_reader') === 5000, 'all answers');
    expect(client.count('"pong"')).toBe(count);
    await eventually(() => client.messages.includes('pong last'), 'the last answer');
  });

  test('and all others have their turn', async () => {
    const gateway = await startGateway([], secret);
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawWebSocket.open(gateway.url)));
    const flood = repeat(15_000, () => textFrame({ type: 'ping' }));
    for (const client of clients) client.write(open, flood, clientFrame('ping', 'last'));
    await eventually(() => clients.every(({ messages }) => messages.includes('pong last')), 'all answers');
    // The gateway looks once a second.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect(await metric(gateway.adminUrl, 'nodejs_eventloop_delay_max_seconds')).toBeLessThan(0.3);
  });

  test('what a reader is sent again when it goes to and fro between connections', async () => {
    const { gateway } = await startBoth();
    const reader = newReader();
    const clients = await Promise.all([1, 2].map(() => RawWebSocket.open(gateway.url)));
    for (const [index, client] of clients.entries()) {
      client.write(textFrame({ type: 'open', windowBytes: 65_536 }));
      // So that none of them is ended because it has nothing left.
      client.write(textFrame(chatRequest(`sim:stall=1`, { stream: index + 1 })));
    }
    clients[0]?.write(textFrame(chatRequest('sim:tokens=2000,tps=0,ttft=0', { stream: 10, reader })));
    await eventually(() => (clients[0]?.messages.join('').length ?? 0) > 10_000, 'a window');
    let written = 0;
    for (let stream = 11; stream < 60; stream += 1) {
      const client = clients[stream % 2];
      const before = client?.messages.length ?? 0;
      client?.write(textFrame({ type: 'resume', stream, reader, headers: {}, offset: 0, acked: 0 }));
      await eventually(() => (client?.messages.length ?? 0) > before, 'an answer');
      written = Math.max(...clients.map(({ messages }) => messages.join('').length));
    }
    expect(written).toBeLessThan(4 * 65_536);
    // Its reader is ended, and nothing else.
    expect(clients.some(({ messages }) => messages.join('').includes('unknown_reader'))).toBe(true);
    expect(clients.map(({ closeCode }) => closeCode)).toEqual([undefined, undefined]);
  });

  test('a refused request leaves nothing behind', async () => {
    const gateway = await startGateway(['--max-session-streams', '5'], secret);
    const client = await openSession(gateway.url);
    for (let stream = 1; stream <= 50; stream += 1) client.send(chatRequest('sim', { stream }));
    await eventually(() => client.of('end').length === 50, 'all answers');
    expect(client.of('response').every(({ status }) => status === 401)).toBe(true);
    // 5.14
    client.send({ type: 'detach', stream: 50 });
    client.send({ type: 'ping' });
    await eventually(() => client.of('pong').length === 1, 'the session to be alive');
  });

  test('a client that sends what is to be done and closes at once has said it', async () => {
    const { gateway } = await startBoth(['--detach-grace-ms', '60000', '--max-session-streams', '100']);
    const client = await openSession(gateway.url);
    for (let stream = 1; stream <= 60; stream += 1) client.send(chatRequest('sim:stall=1', { stream }));
    await eventually(() => client.of('response').length === 60, 'all answers');
    for (let stream = 1; stream <= 60; stream += 1) client.send({ type: 'cancel', stream });
    client.socket.close();
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')) === 60,
      'all streams to be cancelled',
    );
  });
});

describe('messages that are not whole yet', () => {
  test('are bounded in all where nobody has shown a key', async () => {
    const gateway = await startGateway([], secret);
    const before = residentBytes(gateway);
    const part = clientFrame('text', 'x'.repeat(mebibyte - 4096), true, mebibyte);
    const clients: RawWebSocket[] = [];
    for (let index = 0; index < 150; index += 1) {
      const client = await RawWebSocket.open(gateway.url);
      client.write(open, part);
      clients.push(client);
    }
    await eventually(
      () => clients.filter(({ closeCode }) => closeCode === 1013).length > 100,
      'most of them to be refused',
    );
    // 150 came; what was released may not be collected yet.
    expect((residentBytes(gateway) - before) / mebibyte).toBeLessThan(130);
    await eventually(
      async () =>
        (await metric(gateway.adminUrl, 'spillway_sessions_ended_total{reason="overloaded"}')) > 100,
      'them to be gone',
    );
    // A key shows that somebody is no stranger: that is in the first few bytes of a small request.
    const known = await openSession(gateway.url);
    known.send({ ...chatRequest('sim', { headers: withKey }), path: '/v1/nothing-like-it' });
    await eventually(() => known.of('end').length === 1, 'the answer');
    known.send({ ...chatRequest('sim', { stream: 2, headers: withKey }), body: 'x'.repeat(500_000) });
    await eventually(() => known.of('end').length === 2, 'the answer');
  });

  test.each([
    ['in pieces of a byte', () => repeat(200_000, () => clientFrame('continuation', 'x', false))],
    ['in one frame, byte by byte', () => Buffer.from('x'.repeat(200_000))],
  ])('%s', async (name, makeRest) => {
    const gateway = await startGateway([], secret);
    const before = residentBytes(gateway);
    const rest = makeRest();
    const isDrip = name.includes('byte by byte');
    const clients = await Promise.all(Array.from({ length: 40 }, () => RawWebSocket.open(gateway.url)));
    for (const client of clients) {
      client.socket.setNoDelay();
      client.write(open, isDrip ? clientFrame('text', '', true, 900_000) : clientFrame('text', 'x', false));
    }
    const step = isDrip ? 1 : rest.length;
    for (let at = 0; at < Math.min(rest.length, 2000 * step); at += step) {
      for (const client of clients) client.write(rest.subarray(at, at + step));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((residentBytes(gateway) - before) / mebibyte).toBeLessThan(80);
  });

  test('5.13 have a deadline, whose readers may come back', async () => {
    const { gateway } = await startBoth(['--request-timeout-ms', '1500']);
    const client = await RawWebSocket.open(gateway.url);
    client.write(open, clientFrame('text', '{"type":', true, 1000));
    const drip = setInterval(() => client.write(Buffer.from(' ')), 50);
    await eventually(() => client.closeCode === 4408, 'the session to end');
    clearInterval(drip);
  });

  test('what counts ends with the message', async () => {
    const { gateway } = await startBoth(['--max-request-memory-bytes', '2000000']);
    const client = await openSession(gateway.url);
    for (let stream = 1; stream <= 30; stream += 1) {
      const body = {
        ...(JSON.parse(chatBody('sim:tokens=1,tps=0,ttft=0')) as object),
        user: 'x'.repeat(300_000),
      };
      client.send({ ...chatRequest('sim', { stream }), body: JSON.stringify(body) });
      await eventually(() => client.of('end').length === stream, 'the answer');
      expect(client.of('response', stream)[0]?.status).toBe(200);
    }
    expect(client.closed).toBeUndefined();
  });
});

describe('the headers of a frame', () => {
  const shared = gatewayForAll([], secret);
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`h${index}`, 'v']));

  test.each([
    ['as many as Node takes, and more bytes', many(2000), 431],
    ['more than Node takes', many(2100), 431],
    ['three that are large', { a: 'x'.repeat(8000), b: 'x'.repeat(8000), c: 'x'.repeat(8000) }, 431],
    ['two that are large', { ...withKey, a: 'x'.repeat(8000), b: 'x'.repeat(8000) }, 200],
  ])('%s', async (_name, headers, status) => {
    const client = await openSession(shared().url);
    client.send({ ...chatRequest('sim:tokens=1,ttft=0,tps=0'), headers });
    await eventually(() => client.of('end').length === 1, 'the answer');
    expect(client.of('response')[0]?.status).toBe(status);
  });

  test('of a read and of a resume, too', async () => {
    const client = await openSession(shared().url);
    const headers = many(2000);
    const reader = newReader();
    client.send({ type: 'resume', stream: 1, reader, headers, offset: 0, acked: 0 });
    const read = { type: 'read', reader, windowBytes: 1024, url: '/streams/x', from: 0, overflow: 'block' };
    client.send({ ...read, stream: 2, headers });
    client.send({ ...read, stream: 3, headers: { a: 'b' }, url: `/streams/${'x'.repeat(8000)}` });
    await eventually(() => client.of('error').length === 3, 'the errors');
    expect(client.of('error').map(({ code }) => code)).toEqual([
      'headers_too_large',
      'headers_too_large',
      'not_found',
    ]);
  });

  test.each<readonly [string, () => string]>([
    ['of which there are 70,000', () => JSON.stringify({ ...chatRequest('sim'), headers: many(70_000) })],
    [
      'one of them twice',
      () => JSON.stringify({ ...chatRequest('sim'), headers: { 'X-a': '1', 'x-A': '2' } }),
    ],
    ['a million brackets', () => '['.repeat(mebibyte - 1)],
    ['half a million values', () => `{"type":"request","body":[${'[],'.repeat(349_000)}[]]}`],
    [
      'a hundred thousand keys',
      () => `{${Array.from({ length: 90_000 }, (_, index) => `"${index}":1`).join()}}`,
    ],
  ])('%s: a bad frame', async (_name, makeFrame) => {
    const client = await openSession(shared().url);
    client.send(makeFrame());
    await eventually(() => client.closed?.code === 4400, 'the session to end');
  });
});
