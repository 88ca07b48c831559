import { nodeClock } from '@spillway/server/time/node-clock';
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext, type TLSSocket } from 'node:tls';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { hasHttp2, type Transport } from '../src/config/transport.ts';
import { GatewayError } from '@spillway/server/errors';
import { HeldBody } from '../src/memory/held-body.ts';
import { openReply } from '../src/provider/open-reply.ts';
import type { ReplyPool } from '../src/source/exchange.ts';
import { type Reply, sendRequest } from '../src/source/reply.ts';
import { ResponseError } from '../src/source/response-reader.ts';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import {
  endHeaders,
  endStream,
  type Frame,
  frame,
  frameTypes,
  header,
  startRawHttp2,
  status200,
  uint32,
} from './support/raw-http2.ts';
import { eventually } from './support/spawn.ts';
import { openPool, type TransportLimits } from './support/transports.ts';

// Elsewhere the gateway refuses it.
beforeEach(({ skip }) => skip(!hasHttp2(), 'HTTP/2 is not safe with this Node'));

let certificates: Certificates;
let transport: Transport;
beforeAll(() => {
  certificates = makeCertificates();
  const secureContext = createSecureContext({ ca: certificates.authority.cert });
  transport = { id: 'http2', http2: true, proxy: undefined, secureContext };
});
afterAll(() => certificates.remove());

function post(body = 'the body'): Parameters<typeof sendRequest>[1] {
  return {
    method: 'POST',
    path: '/v1/x?a=b',
    headers: { 'x-a': 'b' },
    body: new HeldBody([Buffer.from(body)]),
  };
}

async function ask(
  pool: ReplyPool,
  signal: AbortSignal = new AbortController().signal,
  connectRetries = 0,
): Promise<Reply> {
  return await openReply(pool, post(), {
    clock: nodeClock,
    retries: 0,
    connectRetries,
    signal,
    onRetry: () => undefined,
  });
}

/** How a reply ends, with what came before. */
async function rest(reply: Reply): Promise<{ readonly body: string; readonly end: string }> {
  let body = '';
  const { promise, resolve } = Promise.withResolvers<string>();
  reply.consume({
    data: (bytes, start, end) => (body += bytes.toString('latin1', start, end)),
    complete: () => resolve('whole'),
    fail: (error) => resolve(error instanceof ResponseError ? 'upstream_invalid' : 'upstream_cut'),
  });
  return { end: await within(promise, 'the end'), body };
}

async function outcome(asking: Promise<Reply>): Promise<string> {
  try {
    return (await rest(await within(asking, 'the head'))).end;
  } catch (error) {
    return error instanceof GatewayError ? error.code : String(error);
  }
}

/** Node's own server: what it is told by whoever speaks HTTP/2 with it is checked by somebody else than us. */
async function startServer(
  answer: (stream: ServerHttp2Stream, body: Buffer, headers: IncomingHttpHeaders) => void,
  allowHTTP1 = false,
): Promise<{ readonly origin: string; readonly server: Http2SecureServer; readonly sessions: () => number }> {
  const { cert, key } = certificates.server;
  let sessions = 0;
  const server = createSecureServer({ cert, key, allowHTTP1 });
  const sockets = new Set<TLSSocket>();
  server.on('secureConnection', (socket) => sockets.add(socket));
  server.on('session', () => (sessions += 1));
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const parts: Buffer[] = [];
    stream.on('error', () => undefined);
    stream.on('data', (part: Buffer) => void parts.push(part));
    stream.on('end', () => answer(stream, Buffer.concat(parts), headers));
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    server,
    sessions: () => sessions,
  };
}

function open(origin: string, limits?: TransportLimits): ReplyPool {
  return openPool(origin, transport, limits);
}

describe('a provider with HTTP/2', () => {
  test('gets requests whole and answers, many over one connection', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const { origin, sessions } = await startServer((stream, body, headers) => {
      seen.push(headers);
      stream.additionalHeaders({ ':status': 103 });
      stream.respond({ ':status': 201, 'x-sum': 'ä' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': '1' }));
      stream.end(`got ${body.toString()}`);
    });
    const pool = open(origin);
    const replies = await Promise.all(Array.from({ length: 90 }, () => ask(pool)));
    for (const reply of replies) {
      expect([reply.status, reply.isDelimited, reply.header('x-sum')]).toEqual([201, true, 'ä']);
      expect(await rest(reply)).toEqual({ body: 'got the body', end: 'whole' });
    }
    expect(seen).toHaveLength(90);
    const expected = {
      ':method': 'POST',
      ':path': '/v1/x?a=b',
      ':scheme': 'https',
      'content-length': '8',
      'x-a': 'b',
    };
    for (const headers of seen)
      expect(headers).toMatchObject({ ...expected, ':authority': new URL(origin).host });
    expect(sessions()).toBe(1);
  });

  test('that takes few streams at once gets more connections', async () => {
    const { origin, server, sessions } = await startServer((stream) => {
      stream.respond({ ':status': 200 });
      stream.write('x');
      setTimeout(() => stream.end('y'), 200);
    });
    server.updateSettings({ maxConcurrentStreams: 4 });
    const pool = open(origin);
    const replies = await within(Promise.all(Array.from({ length: 10 }, () => ask(pool))), 'ten answers');
    for (const reply of replies) expect(await rest(reply)).toEqual({ body: 'xy', end: 'whole' });
    expect(sessions()).toBeGreaterThanOrEqual(3);
    expect(sessions()).toBeLessThanOrEqual(10);
  });

  test('that has only HTTP/1.1 is asked in that', async () => {
    const { origin, server } = await startServer(() => undefined, true);
    let versions = '';
    server.on('request', (request, response) => {
      versions += request.httpVersion;
      request.resume();
      response.end('ok');
    });
    const { secureContext } = transport;
    const pool = openPool(origin, { id: 'http1', http2: false, proxy: undefined, secureContext });
    const replies = await Promise.all([ask(pool), ask(pool), ask(pool)]);
    for (const reply of replies) expect(await rest(reply)).toEqual({ body: 'ok', end: 'whole' });
    expect(versions).toBe('1.11.11.1');
  });

  test('with a body of megabytes, both ways', async () => {
    const { origin } = await startServer((stream, body) => {
      stream.respond({ ':status': 200 });
      stream.end(body);
    });
    const pool = open(origin);
    const text = 'x'.repeat(12_000_000);
    const both = [1, 2].map(async () => {
      const reply = await sendRequest(pool, post(text), new AbortController().signal);
      const { body, end } = await rest(reply);
      expect([body.length, end]).toEqual([text.length, 'whole']);
    });
    await Promise.all(both);
  });

  test.each([204, 304])('without a body: %i', async (status) => {
    const { origin } = await startServer((stream) => {
      stream.respond({ ':status': status }, { endStream: true });
    });
    expect(await rest(await ask(open(origin)))).toEqual({ body: '', end: 'whole' });
  });

  test('promise 1: a paused reply stops its peer, and nobody else', async () => {
    const written = new Map<string, number>();
    const { origin } = await startServer((stream, body) => {
      stream.respond({ ':status': 200 });
      const name = `${body.toString()} ${stream.id}`;
      const piece = Buffer.alloc(8192);
      const write = (): void => {
        for (let isFree = true; isFree && (written.get(name) ?? 0) < 4_000_000;) {
          written.set(name, (written.get(name) ?? 0) + piece.length);
          isFree = stream.write(piece);
        }
        if ((written.get(name) ?? 0) >= 4_000_000) stream.end();
        else stream.once('drain', write);
      };
      write();
    });
    const pool = open(origin);
    const stalled = await Promise.all(
      Array.from({ length: 20 }, () => sendRequest(pool, post('stalled'), new AbortController().signal)),
    );
    let bytes = 0;
    for (const reply of stalled) {
      reply.consume({
        data: (_, start, end) => {
          bytes += end - start;
          reply.pause();
        },
        complete: () => expect.unreachable(),
        fail: () => undefined,
      });
    }
    const live = await sendRequest(pool, post('live'), new AbortController().signal);
    expect((await rest(live)).body).toHaveLength(4_005_888);
    // One read each, and then nothing more. Of its peers: what a stream holds here, its window, and what they have ready.
    expect(bytes).toBeLessThanOrEqual(20 * 16_384);
    for (const [name, count] of written) if (name.startsWith('stalled')) expect(count).toBeLessThan(180_000);
    stalled[0]?.resume();
    await eventually(() => bytes > 16_384 * 2, 'it to go on');
  });
});

describe('promise 6: whoever leaves an HTTP/2 stream stops it, and no other', () => {
  test.each(['before the head', 'in the body', 'paused'])('%s', async (phase) => {
    const codes: number[] = [];
    const { origin, sessions } = await startServer((stream) => {
      stream.on('close', () => codes.push(stream.rstCode));
      if (phase !== 'before the head') {
        stream.respond({ ':status': 200 });
        stream.write('x'.repeat(100_000));
      }
    });
    const pool = open(origin);
    const aborting = new AbortController();
    const other = ask(pool);
    const asking = ask(pool, aborting.signal);
    if (phase === 'before the head') {
      asking.catch(() => undefined);
      other.catch(() => undefined);
      await eventually(() => sessions() === 1, 'the connection');
      await sleep(100);
    } else {
      await other;
      const reply = await asking;
      reply.consume({
        data: () => {
          if (phase === 'paused') reply.pause();
        },
        complete: () => expect.unreachable(),
        fail: () => undefined,
      });
      await sleep(50);
    }
    aborting.abort(new Error('gone'));
    await eventually(() => codes.length === 1, 'the stream to end');
    await sleep(50);
    expect(codes).toEqual([constants.NGHTTP2_CANCEL]);
    expect(sessions()).toBe(1);
  });

  test('while its request waits to be read', async () => {
    const provider = await startRawHttp2(certificates.server, () => undefined);
    const aborting = new AbortController();
    const asking = sendRequest(open(provider.origin), post('x'.repeat(1_000_000)), aborting.signal);
    asking.catch(() => undefined);
    const came = (wanted: number): Frame[] => provider.frames.filter(({ type }) => type === wanted);
    const bytes = (): number => came(frameTypes.data).reduce((sum, { payload }) => sum + payload.length, 0);
    // All that HTTP lets it send. Before the settings are known, the connection would end with its only request.
    await eventually(() => bytes() === 65_535, 'the window to be full');
    await eventually(
      () => came(frameTypes.settings).some(({ flags }) => flags === 1),
      'the settings to be known',
    );
    aborting.abort(new Error('gone'));
    await eventually(() => came(frameTypes.reset).length > 0, 'the provider to hear of it');
    expect(came(frameTypes.reset).map(({ payload }) => payload)).toEqual([uint32(constants.NGHTTP2_CANCEL)]);
    expect(provider.open.size).toBe(1);
  });

  test('a connection that is being made for nobody is given up', async () => {
    const silent = await startRawHttp2(certificates.server, () => undefined);
    // A handshake that is never answered.
    const { createServer } = await import('node:net');
    let open1 = 0;
    const server = createServer((socket) => {
      open1 += 1;
      socket
        .on('error', () => undefined)
        .on('close', () => (open1 -= 1))
        .resume();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const pool = open(`https://127.0.0.1:${port}`, { connectTimeoutMs: 120_000 });
    const first = new AbortController();
    const second = new AbortController();
    const both = [outcome(ask(pool, first.signal)), outcome(ask(pool, second.signal))];
    await eventually(() => open1 === 1, 'the connection');
    first.abort(new Error('gone'));
    await both[0];
    await sleep(50);
    expect(open1).toBe(1);
    second.abort(new Error('gone'));
    await both[1];
    await eventually(() => open1 === 0, 'it to be given up');
    expect(silent.connections).toBe(0);
  });
});

const data = (stream: number, text: string, flags = 0): Buffer =>
  frame(frameTypes.data, flags, stream, Buffer.from(text));
const head = (stream: number, ...more: Buffer[]): Buffer =>
  frame(frameTypes.headers, endHeaders, stream, Buffer.concat([status200, ...more]));

describe('what a provider does in frames', () => {
  test.each<readonly [string, (stream: number) => Buffer, string]>([
    ['the end with the last bytes', (id) => data(id, '!', endStream), 'whole'],
    ['the end alone', (id) => data(id, '', endStream), 'whole'],
    [
      'trailers',
      (id) => frame(frameTypes.headers, endHeaders | endStream, id, header('x-sum', '1')),
      'whole',
    ],
    ['a reset: NO_ERROR', (id) => frame(frameTypes.reset, 0, id, uint32(0)), 'upstream_cut'],
    ['a reset: CANCEL', (id) => frame(frameTypes.reset, 0, id, uint32(8)), 'upstream_cut'],
    ['a reset: INTERNAL_ERROR', (id) => frame(frameTypes.reset, 0, id, uint32(2)), 'upstream_cut'],
    ['a reset: REFUSED_STREAM', (id) => frame(frameTypes.reset, 0, id, uint32(7)), 'upstream_cut'],
    ['it goes away, before this stream', () => frame(frameTypes.goAway, 0, 0, uint32(0, 0)), 'upstream_cut'],
    ['it goes away with an error', (id) => frame(frameTypes.goAway, 0, 0, uint32(id, 2)), 'upstream_cut'],
  ])('promise 7: %s', async (_what, end, expected) => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
      setTimeout(() => socket.write(end(stream)), 30);
    });
    const reply = await ask(open(provider.origin));
    const { body, end: seen } = await rest(reply);
    expect([body.slice(0, 5), seen]).toEqual(['hello', expected]);
  });

  test.each<readonly [string, (socket: TLSSocket) => void]>([
    ['ends', (socket) => void socket.end()],
    ['is reset', (socket) => void socket.destroy()],
  ])('promise 7: its connection %s', async (_what, end) => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
      setTimeout(() => end(socket), 30);
    });
    expect(await rest(await ask(open(provider.origin)))).toEqual({ body: 'hello', end: 'upstream_cut' });
  });

  test.each([
    ['less than its length', '9', 'hello'],
    ['more than its length', '3', 'hello'],
  ])('promise 7: %s', async (_what, length, text) => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(head(stream, header('content-length', length)));
      setTimeout(() => socket.write(data(stream, text, endStream)), 30);
    });
    expect(await outcome(ask(open(provider.origin)))).toBe('upstream_cut');
  });

  test('it goes away, and what runs is still answered, and what comes is asked elsewhere', async () => {
    const streams: { stream: number; socket: TLSSocket }[] = [];
    const provider = await startRawHttp2(certificates.server, (stream, socket, count) => {
      streams.push({ stream, socket });
      socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
      if (count === 1) socket.write(frame(frameTypes.goAway, 0, 0, uint32(stream, 0)));
      else socket.write(data(stream, '!', endStream));
    });
    const pool = open(provider.origin);
    const first = await ask(pool);
    await sleep(50);
    expect(await rest(await ask(pool))).toEqual({ body: 'hello!', end: 'whole' });
    expect(provider.connections).toBe(2);
    const { socket, stream } = streams[0] ?? expect.unreachable();
    socket.write(data(stream, '!', endStream));
    expect(await rest(first)).toEqual({ body: 'hello!', end: 'whole' });
    await eventually(() => provider.open.size === 1, 'the connection that it left to be closed');
  });

  test('what came during a pause is there when it is over, though nothing else comes', async () => {
    let send: ((bytes: Buffer) => void) | undefined;
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
      // What is answered, all before it was read.
      send = (bytes) => socket.write(Buffer.concat([bytes, frame(frameTypes.ping, 0, 0, Buffer.alloc(8))]));
    });
    const reply = await ask(open(provider.origin));
    let body = '';
    reply.consume({
      data: (bytes, start, end) => {
        body += bytes.toString('latin1', start, end);
        reply.pause();
      },
      complete: () => expect.unreachable(),
      fail: () => undefined,
    });
    await eventually(() => body === 'hello', 'the first piece');
    send?.(data(1, ' again'));
    await eventually(
      () => provider.frames.some(({ type }) => type === frameTypes.ping),
      'the second to come',
    );
    expect(body).toBe('hello');
    reply.resume();
    await eventually(() => body === 'hello again', 'the second piece');
  });

  test('an endless head', async () => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      const large = Array.from({ length: 20 }, (_, count) => header(`x-${count}`, 'y'.repeat(100)));
      socket.write(head(stream, ...large));
    });
    expect(await outcome(ask(open(provider.origin, { maxHeaderBytes: 1024 })))).toBe('upstream_invalid');
  });

  test('no word for too long', async () => {
    const provider = await startRawHttp2(certificates.server, () => undefined);
    const pool = open(provider.origin, { responseTimeoutMs: 200 });
    expect(await outcome(ask(pool))).toBe('upstream_timeout');
    await eventually(
      () => provider.frames.some(({ type }) => type === frameTypes.reset),
      'the provider to hear of it',
    );
  });

  test('it says nothing at all, and nobody waits for ever', async () => {
    const provider = await startRawHttp2(certificates.server, () => undefined, null);
    const pool = open(provider.origin, { connectTimeoutMs: 300, responseTimeoutMs: 600 });
    const ends = await Promise.all([1, 2, 3].map(() => within(outcome(ask(pool)), 'the deadline')));
    expect(ends).toEqual(['upstream_timeout', 'upstream_timeout', 'upstream_timeout']);
  });
});

describe('1.5 a stream that its provider did not look at is sent again, and any other is not', () => {
  const whole = (stream: number): Buffer => Buffer.concat([head(stream), data(stream, 'ok', endStream)]);

  test.each<readonly [string, (stream: number) => Buffer]>([
    ['it refuses it', (id) => frame(frameTypes.reset, 0, id, uint32(7))],
    ['it goes away before it', () => frame(frameTypes.goAway, 0, 0, uint32(0, 0))],
  ])('%s', async (_what, refusal) => {
    const provider = await startRawHttp2(certificates.server, (stream, socket, count) => {
      socket.write(count === 1 ? refusal(stream) : whole(stream));
    });
    const pool = open(provider.origin);
    expect(await rest(await ask(pool, undefined, 2))).toEqual({ body: 'ok', end: 'whole' });
    expect(provider.frames.filter(({ type }) => type === frameTypes.headers)).toHaveLength(2);
  });

  test.each<readonly [string, (stream: number, socket: TLSSocket) => void]>([
    [
      'it ends it with an error',
      (id, socket) => void socket.write(frame(frameTypes.reset, 0, id, uint32(2))),
    ],
    ['it cancels it', (id, socket) => void socket.write(frame(frameTypes.reset, 0, id, uint32(8)))],
    [
      'it goes away behind it',
      (id, socket) => void socket.end(frame(frameTypes.goAway, 0, 0, uint32(id, 0))),
    ],
    ['it closes', (_id, socket) => void socket.destroy()],
  ])('%s', async (_what, end) => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => end(stream, socket));
    expect(await outcome(ask(open(provider.origin), undefined, 2))).toBe('upstream_cut');
    expect(provider.frames.filter(({ type }) => type === frameTypes.headers)).toHaveLength(1);
  });
});

describe('every answer over HTTP/2 has an end', () => {
  // The clock of pings stands until a test says that it goes on.
  beforeEach(() => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
  afterEach(() => vi.useRealTimers());

  /** How often a connection is asked for a sign of life. */
  const pingMs = 30_000;

  /** What becomes of it while minutes go by, for the clock of pings alone. */
  async function asTimeGoesOn<T>(promise: Promise<T>): Promise<T> {
    const over = within(promise, 'the end');
    const isOver = over.then(() => true);
    while (!(await Promise.race([isOver, sleep(50, false)]))) vi.advanceTimersByTime(pingMs);
    return await over;
  }

  const zeros = Buffer.alloc(8);
  // RFC 9113 says of each that the connection is over.
  test.each<readonly [string, (stream: number) => Buffer]>([
    ['bytes that are no frame', () => Buffer.alloc(100, 255)],
    ['another protocol', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a body on stream 0', () => data(0, 'x')],
    ['a body on a stream that nobody opened', (id) => data(id + 2, 'x')],
    ['a body that is shorter than its padding', (id) => frame(frameTypes.data, 8, id, Buffer.from([200, 1]))],
    ['a head on stream 0', () => head(0)],
    ['a head on a stream that nobody opened', (id) => head(id + 2)],
    ['a head that is no HPACK', (id) => frame(frameTypes.headers, endHeaders, id, Buffer.alloc(6, 255))],
    [
      'a head that is shorter than its padding',
      (id) => frame(frameTypes.headers, endHeaders | 8, id, Buffer.from([200, 1])),
    ],
    [
      'something else in the midst of a head',
      (id) =>
        Buffer.concat([frame(frameTypes.headers, 0, id, status200), frame(frameTypes.ping, 0, 0, zeros)]),
    ],
    ['a head that goes on without a beginning', (id) => frame(9, endHeaders, id, status200)],
    ['a reset of 3 bytes', (id) => frame(frameTypes.reset, 0, id, Buffer.alloc(3))],
    ['a reset of stream 0', () => frame(frameTypes.reset, 0, 0, uint32(8))],
    ['settings of 5 bytes', () => frame(frameTypes.settings, 0, 0, Buffer.alloc(5))],
    ['settings of a stream', (id) => frame(frameTypes.settings, 0, id)],
    [
      'settings with a window that is too wide',
      () => frame(frameTypes.settings, 0, 0, Buffer.from('0004ffffffff', 'hex')),
    ],
    ['a stream that nobody asked for', (id) => frame(5, endHeaders, id, Buffer.from('0000000282', 'hex'))],
    ['a ping of 7 bytes', () => frame(frameTypes.ping, 0, 0, zeros.subarray(1))],
    ['a ping of a stream', (id) => frame(frameTypes.ping, 0, id, zeros)],
    ['a goodbye of 7 bytes', () => frame(frameTypes.goAway, 0, 0, zeros.subarray(1))],
    ['a window of 3 bytes', () => frame(frameTypes.windowUpdate, 0, 0, Buffer.alloc(3))],
    ['a window that is too wide', () => frame(frameTypes.windowUpdate, 0, 0, uint32(0x7f_ff_ff_ff))],
    ['a window of nothing', () => frame(frameTypes.windowUpdate, 0, 0, uint32(0))],
    // With nghttp2 before 1.68.1 these 42 bytes end the process.
    [
      'a priority of 0 bytes behind an empty alternative',
      () => Buffer.concat([frame(10, 0, 0, Buffer.alloc(24)), frame(2, 0, 0)]),
    ],
  ])('%s', async (_what, bytes) => {
    for (const [hasHead, closes] of [
      [true, false],
      [true, true],
      [false, false],
    ] as const) {
      const provider = await startRawHttp2(certificates.server, (stream, socket) => {
        if (hasHead) socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
        socket.write(bytes(stream));
        if (closes) socket.end();
      });
      const pool = open(provider.origin, { responseTimeoutMs: 600_000 });
      expect(await asTimeGoesOn(outcome(ask(pool)))).toMatch(/^upstream_(?:cut|invalid)$/);
      await eventually(() => provider.open.size === 0, 'the connection to be closed');
    }
  });

  test('a peer that no longer answers is gone within a minute', async () => {
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(Buffer.concat([head(stream), data(stream, 'hello')]));
      socket.pause();
    });
    const reply = await ask(open(provider.origin));
    const came = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    reply.consume({
      data: () => came.resolve(),
      complete: () => ended.resolve('whole'),
      fail: (error) => ended.resolve(error.message),
    });
    await within(came.promise, 'the body');
    vi.advanceTimersByTime(2 * pingMs);
    expect(await within(ended.promise, 'the end')).toContain('unresponsive');
  });

  test('a peer that thinks for minutes is not', async () => {
    let send: ((text: string, flags?: number) => void) | undefined;
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      socket.write(head(stream));
      send = (text, flags) => void socket.write(data(stream, text, flags));
    });
    const reply = await ask(open(provider.origin));
    let body = '';
    const ended = Promise.withResolvers<string>();
    reply.consume({
      data: (bytes, start, end) => (body += bytes.toString('latin1', start, end)),
      complete: () => ended.resolve('whole'),
      fail: (error) => ended.resolve(error.message),
    });
    const pings = (): number => provider.frames.filter(({ type }) => type === frameTypes.ping).length;
    for (let count = 1; count <= 10; count += 1) {
      vi.advanceTimersByTime(pingMs);
      await eventually(() => pings() === count, 'a ping');
      // What is read behind its answer.
      send?.('.');
      await eventually(() => body.length === count, 'its answer to be read');
    }
    send?.('', endStream);
    expect(await within(ended.promise, 'the end')).toBe('whole');
  });

  test('whatever a provider with HTTP/2 sends, the process goes on', async () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    const provider = await startRawHttp2(certificates.server, (stream, socket) => {
      if (random(2) === 0) socket.write(head(stream));
      for (let count = random(6); count > 0; count -= 1) {
        const payload = Buffer.from(Array.from({ length: random(40) }, () => random(256)));
        socket.write(frame(random(11), random(256), random(3) * stream, payload));
      }
      if (random(3) === 0) socket.write(Buffer.from(Array.from({ length: 30 }, () => random(256))));
      setTimeout(() => (random(2) === 0 ? socket.end() : socket.destroy()), random(20));
    });
    const pool = open(provider.origin, { responseTimeoutMs: 2000, connectTimeoutMs: 2000 });
    for (let round = 0; round < 100; round += 1) {
      const ends = await asTimeGoesOn(Promise.all([outcome(ask(pool)), outcome(ask(pool))]));
      for (const end of ends) expect(end).toMatch(/^(?:whole|upstream_\w+)$/);
    }
  });
});
