import { VirtualClock } from '../../src/testing/virtual-clock.ts';
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer, type ServerOptions } from 'ws';
import { openChannel, pipe } from '../../src/index.ts';
import {
  fromWebSocket,
  type WebSocketMessage,
  type WebSocketSourceOptions,
} from '../../src/source/websocket.ts';
import { checkProperty } from '../support/property.ts';
import { within } from '../support/within.ts';

/** Two ends of a connection over loopback: the one that a source is made of, and its peer. */
async function connected(
  server: ServerOptions = {},
  client: WebSocket.ClientOptions = {},
): Promise<{ socket: WebSocket; peer: WebSocket }> {
  const listener = new WebSocketServer({ host: '127.0.0.1', port: 0, ...server });
  await once(listener, 'listening');
  const socket = new WebSocket(`ws://127.0.0.1:${(listener.address() as AddressInfo).port}`, client);
  onTestFinished(() => {
    socket.terminate();
    for (const other of listener.clients) other.terminate();
    listener.close();
  });
  const [[peer]] = (await Promise.all([once(listener, 'connection'), once(socket, 'open')])) as [
    [WebSocket],
    unknown,
  ];
  peer.on('error', () => undefined);
  return { socket, peer };
}

/** The code of its close. Not `once`, which is rejected by an error that comes before it. */
async function closed(socket: WebSocket): Promise<number> {
  if (socket.readyState === WebSocket.CLOSED) return 0;
  return within(new Promise<number>((resolve) => socket.once('close', resolve)), 'a close');
}

async function collect<T>(source: AsyncIterable<T>): Promise<{ chunks: T[]; error: unknown }> {
  const chunks: T[] = [];
  try {
    for await (const chunk of source) chunks.push(chunk);
  } catch (error) {
    return { chunks, error };
  }
  return { chunks, error: undefined };
}

/** That nothing of ours is left at the socket; `ws` has none of its own there. */
function expectNoListeners(socket: WebSocket): void {
  for (const event of ['close', 'error', 'message', 'open'])
    expect(socket.listenerCount(event), event).toBe(0);
}

const isEnd = (message: WebSocketMessage): boolean => message === 'end';

test('promise 1: while the channel is full, what comes waits at the peer', async () => {
  const count = 4096;
  const bytes = 16_384;
  const sender = fork(fileURLToPath(new URL('../support/websocket-sender.ts', import.meta.url)), [
    `${count}`,
    `${bytes}`,
  ]);
  onTestFinished(() => void sender.kill());
  const [{ port }] = (await within(once(sender, 'message'), 'a sender')) as [{ port: number }];
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  onTestFinished(() => socket.terminate());
  const source = fromWebSocket(socket, {
    isEnd,
    decode: (message) => (typeof message === 'string' ? undefined : message),
  });
  const before = process.memoryUsage();
  const gate = Promise.withResolvers<void>();
  let next = 0;
  const ended = pipe(
    source,
    { maxBytes: 65_536, weigh: (chunk) => chunk.length },
    {
      write: async (chunk) => {
        await gate.promise;
        expect(Buffer.from(chunk).readUInt32BE()).toBe(next);
        expect(chunk.length).toBe(bytes);
        next += 1;
      },
    },
  );
  // Until it does not change for half a second: all is sent, or nothing more is taken.
  const settled = Promise.withResolvers<number>();
  let last = -1;
  let times = 0;
  const onReport = ({ bufferedAmount }: { readonly bufferedAmount?: number }): void => {
    if (bufferedAmount === undefined) return;
    times = bufferedAmount === last ? times + 1 : 0;
    last = bufferedAmount;
    if (times === 25) settled.resolve(bufferedAmount);
  };
  sender.on('message', onReport);
  const waitsAtPeer = await within(settled.promise, 'a sender that waits');
  const after = process.memoryUsage();
  // Kernels have some megabytes between the two.
  expect(waitsAtPeer).toBeGreaterThan((count * bytes) / 2);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2_000_000);
  expect(next).toBe(0);

  const sawClose = new Promise<number>((resolve) => {
    sender.on('message', ({ closed: code }: { readonly closed?: number }) => {
      if (code !== undefined) resolve(code);
    });
  });
  gate.resolve();
  expect(await within(ended, 'the end')).toMatchObject({ state: 'completed', deliveredItems: count });
  expect(await within(sawClose, 'the close')).toBe(1000);
  await closed(socket);
  expectNoListeners(socket);
});

test('a reader that keeps up never pauses the socket again', async () => {
  const { peer, socket } = await connected();
  const source = fromWebSocket(socket, { isEnd });
  const pause = vi.spyOn(socket, 'pause');
  const all = collect(source);
  for (let index = 0; index < 5; index += 1) {
    peer.send(`${index}`);
    await within(once(socket, 'message'), 'a message');
    // The reader asks again in a microtask.
    await new Promise(setImmediate);
  }
  expect(pause).not.toHaveBeenCalled();
  peer.send('end');
  expect(await within(all, 'the end')).toEqual({
    chunks: ['0', '1', '2', '3', '4', 'end'],
    error: undefined,
  });
});

describe('each message is a chunk', () => {
  test('binary as bytes, text as text, also empty and with a BOM, before and behind a pause', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { isEnd });
    const sent: WebSocketMessage[] = ['', '\uFEFFa', 'ü🙂', new Uint8Array(0), Uint8Array.of(1, 2, 3), 'end'];
    for (const message of sent) peer.send(message);
    const { chunks, error } = await within(collect(source), 'the end');
    expect(error).toBe(undefined);
    expect(chunks.map((chunk) => (typeof chunk === 'string' ? chunk : [...chunk]))).toEqual(
      sent.map((message) => (typeof message === 'string' ? message : [...message])),
    );
  });

  test.each(['nodebuffer', 'arraybuffer', 'fragments'] as const)('with binaryType %s', async (binaryType) => {
    const { peer, socket } = await connected();
    socket.binaryType = binaryType;
    const source = fromWebSocket(socket, { isEnd });
    peer.send(Uint8Array.of(1, 2), { fin: false });
    peer.send(Uint8Array.of(3), { fin: true });
    peer.send('te', { fin: false });
    peer.send('xt', { fin: true });
    peer.send('end');
    const { chunks } = await within(collect(source), 'the end');
    expect(chunks.map((chunk) => (typeof chunk === 'string' ? chunk : [...chunk]))).toEqual([
      [1, 2, 3],
      'text',
      'end',
    ]);
  });

  test('a blob is refused: its bytes are not there yet', async () => {
    const { socket } = await connected();
    // Its types do not know it yet.
    (socket as { binaryType: string }).binaryType = 'blob';
    expect(() => fromWebSocket(socket)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
    expectNoListeners(socket);
  });

  test('decode makes chunks of them, and leaves some out', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket<number>(socket, {
      isEnd,
      decode: (message) =>
        typeof message === 'string' && message.startsWith('n') ? Number(message.slice(1)) : undefined,
    });
    for (const message of ['n1', 'ping', 'n2', 'ping', 'end']) peer.send(message);
    expect(await within(collect(source), 'the end')).toEqual({ chunks: [1, 2], error: undefined });
  });

  test('a small one does not keep alive what was read together with it', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { isEnd });
    peer.send(new Uint8Array(100));
    peer.send(new Uint8Array(30_000));
    peer.send('end');
    const { chunks } = await within(collect(source), 'the end');
    for (const chunk of chunks) {
      if (typeof chunk !== 'string') expect(chunk.buffer.byteLength).toBeLessThanOrEqual(2 * chunk.length);
    }
  });
});

describe('promise 7: a close is no end', () => {
  test.each([
    [1000, 'done'],
    [1001, ''],
    [1011, 'out of memory'],
    [4000, ''],
  ])('%d fails the source behind what came', async (code, reason) => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { isEnd });
    peer.send('a');
    peer.send('b');
    peer.close(code, reason);
    const { chunks, error } = await within(collect(source), 'the end');
    expect(chunks).toEqual(['a', 'b']);
    expect(error).toMatchObject({
      code: 'source_cut',
      message: `The WebSocket was closed before its end, with ${code}${reason === '' ? '' : `, "${reason}"`}.`,
    });
    expectNoListeners(socket);
  });

  test.each([1000, 1001, 4321])('unless %d was said to be one', async (code) => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { completeCodes: [code] });
    peer.send('a');
    peer.close(code);
    expect(await within(collect(source), 'the end')).toEqual({ chunks: ['a'], error: undefined });
    expectNoListeners(socket);
  });

  test('another code than that fails it', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { completeCodes: [1000, 1005] });
    peer.close(1001);
    expect((await within(collect(source), 'the end')).error).toMatchObject({ code: 'source_cut' });
  });

  test('a close without a code is 1005', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { completeCodes: [1005] });
    peer.close();
    expect((await within(collect(source), 'the end')).error).toBe(undefined);
  });

  test('a connection that is lost fails it, whatever completes it', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { completeCodes: [1000, 1001, 1005] });
    peer.send('a');
    const all = collect(source);
    await within(once(socket, 'message'), 'a message');
    peer.terminate();
    const { chunks, error } = await within(all, 'the end');
    expect(chunks).toEqual(['a']);
    expect(error).toMatchObject({ code: 'source_cut', message: expect.stringContaining('1006') as string });
  });

  test('a socket that was closed before is cut', async () => {
    const { peer, socket } = await connected();
    peer.close(1000);
    await closed(socket);
    const { error } = await within(collect(fromWebSocket(socket)), 'the end');
    expect(error).toMatchObject({ code: 'source_cut', message: 'The WebSocket was closed already.' });
    expectNoListeners(socket);
  });

  test('through a pipe, the sink is aborted', async () => {
    const { peer, socket } = await connected();
    peer.send('a');
    peer.close(1000);
    const end = await within(
      pipe(fromWebSocket(socket), { maxItems: 4 }, { write: () => undefined }),
      'the end',
    );
    expect(end).toMatchObject({ state: 'failed', error: { code: 'source_cut' }, deliveredItems: 1 });
  });
});

test('what comes behind the end is left out, and the socket is closed with 1000', async () => {
  const { peer, socket } = await connected();
  const source = fromWebSocket(socket, { isEnd });
  for (const message of ['a', 'end', 'more']) peer.send(message);
  const code = closed(peer);
  expect(await within(collect(source), 'the end')).toEqual({ chunks: ['a', 'end'], error: undefined });
  expect(await code).toBe(1000);
  await closed(socket);
  expectNoListeners(socket);
  expect(await source.next()).toEqual({ done: true, value: undefined });
});

describe('whoever wants no more closes it with 1001', () => {
  test('by leaving the loop', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket);
    for (const message of ['a', 'b', 'c']) peer.send(message);
    const code = closed(peer);
    for await (const message of source) if (message === 'b') break;
    expect(await code).toBe(1001);
    await closed(socket);
    expectNoListeners(socket);
    expect(await source.next()).toEqual({ done: true, value: undefined });
  });

  test('by the signal of a pipe, also while the peer floods a channel that is full', async () => {
    const { peer, socket } = await connected();
    const controller = new AbortController();
    const code = closed(peer);
    for (let index = 0; index < 400; index += 1) peer.send(new Uint8Array(16_384));
    const first = Promise.withResolvers<void>();
    const ended = pipe(
      fromWebSocket(socket),
      { maxItems: 2, signal: controller.signal },
      {
        write: () => {
          first.resolve();
          return new Promise<void>(() => undefined);
        },
      },
    );
    await within(first.promise, 'a chunk');
    controller.abort(new Error('enough'));
    expect(await within(ended, 'the end')).toMatchObject({
      state: 'cancelled',
      error: { message: 'enough' },
    });
    expect(await code).toBe(1001);
    await closed(socket);
    expectNoListeners(socket);
  });

  test('before anything was asked for', async () => {
    const { peer, socket } = await connected();
    const code = closed(peer);
    const signal = AbortSignal.abort(new Error('never mind'));
    const end = await within(
      pipe(fromWebSocket(socket), { maxItems: 2, signal }, { write: () => undefined }),
      'the end',
    );
    expect(end.state).toBe('cancelled');
    expect(await code).toBe(1001);
  });

  test('and who waits for a message gets the end', async () => {
    const { socket } = await connected();
    const source = fromWebSocket(socket);
    const waiting = [source.next(), source.next()];
    await source.return?.();
    expect(await within(Promise.all(waiting), 'the end')).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });

  test('also while it connects', async () => {
    const { socket: other } = await connected();
    const socket = new WebSocket(other.url);
    const source = fromWebSocket(socket);
    await source.return?.();
    await closed(socket);
    expectNoListeners(socket);
  });
});

/** A socket whose peer says what it is given behind the handshake, and nothing more for ever. */
async function silent(words: Uint8Array): Promise<WebSocket> {
  const peers: Socket[] = [];
  const server = createServer((peer) => {
    peers.push(peer);
    peer.on('error', () => undefined);
    peer.once('data', (head: Buffer) => {
      const key = /sec-websocket-key: (\S+)/i.exec(head.toString())?.[1] ?? '';
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      peer.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      peer.write(words);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const peer of peers) peer.destroy();
    server.close();
  });
  // Its own deadline is far beyond ours. Its types do not know that option yet.
  const options = { closeTimeout: 600_000 } as WebSocket.ClientOptions;
  return new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, options);
}

describe('a peer that does not answer the close is cut off at the deadline', () => {
  test('of one who wants no more, who does not wait for that', async () => {
    const socket = await silent(new Uint8Array(0));
    const clock = new VirtualClock();
    const source = fromWebSocket(socket, { clock });
    const waiting = source.next();
    await once(socket, 'open');
    await source.return?.();
    expect(await within(waiting, 'the end')).toEqual({ done: true, value: undefined });
    await clock.advance(4999);
    expect(socket.readyState).toBe(WebSocket.CLOSING);
    await clock.advance(1);
    await closed(socket);
    expectNoListeners(socket);
  });

  test('of a socket that failed', async () => {
    // A frame with an opcode that there is not.
    const socket = await silent(Uint8Array.of(0x83, 0));
    const clock = new VirtualClock();
    const { error } = await within(collect(fromWebSocket(socket, { clock })), 'the end');
    expect(error).toMatchObject({ code: 'source_failed', cause: { code: 'WS_ERR_INVALID_OPCODE' } });
    await clock.advance(5000);
    await closed(socket);
    expectNoListeners(socket);
  });
});

describe('a socket that fails, fails the source', () => {
  test('no connection', async () => {
    const { socket: other } = await connected();
    const socket = new WebSocket(other.url.replace(/\d+\/?$/, '1'));
    const { error } = await within(collect(fromWebSocket(socket)), 'the end');
    expect(error).toMatchObject({ code: 'source_failed', cause: { code: 'ECONNREFUSED' } });
    await closed(socket);
    expectNoListeners(socket);
  });

  test('a message beyond its own bound', async () => {
    const { peer, socket } = await connected({}, { maxPayload: 1000 });
    const source = fromWebSocket(socket);
    peer.send('a');
    peer.send('b'.repeat(1001));
    const { chunks, error } = await within(collect(source), 'the end');
    expect(chunks).toEqual(['a']);
    expect(error).toMatchObject({
      code: 'source_failed',
      cause: { code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' },
    });
    await closed(socket);
    expectNoListeners(socket);
  });
});

describe('bounds', () => {
  test('a message beyond maxMessageBytes fails the source behind what came', async () => {
    const { peer, socket } = await connected();
    const source = fromWebSocket(socket, { maxMessageBytes: 1000 });
    const code = closed(peer);
    for (const length of [1000, 1001, 10]) peer.send('x'.repeat(length));
    const { chunks, error } = await within(collect(source), 'the end');
    expect(chunks).toEqual(['x'.repeat(1000)]);
    expect(error).toMatchObject({
      code: 'event_too_large',
      message: 'A message has 1001 bytes, the limit is 1000 (maxMessageBytes).',
    });
    expect(await code).toBe(1009);
    await closed(socket);
    expectNoListeners(socket);
  });

  test('promise 1: what compression makes of one read is bounded', async () => {
    const { peer, socket } = await connected(
      { perMessageDeflate: { threshold: 0 } },
      { perMessageDeflate: true },
    );
    const source = fromWebSocket(socket, { maxBufferedBytes: 2_700_000, maxMessageBytes: 1_000_000 });
    const code = closed(peer);
    // A few kilobytes on the wire, which go out together when all of them are compressed.
    const { _socket: wire } = peer as unknown as { readonly _socket: Socket };
    wire.cork();
    for (let index = 0; index < 8; index += 1) peer.send(Buffer.alloc(900_000, 'x'));
    while (peer.bufferedAmount > wire.writableLength) await new Promise(setImmediate);
    wire.uncork();
    const first = await within(source.next(), 'a message');
    expect(first.value).toHaveLength(900_000);
    // Nobody asks for more: what was read comes nevertheless.
    expect(await code).toBe(1008);
    const { chunks, error } = await within(collect(source), 'the end');
    expect(chunks).toHaveLength(3);
    expect(error).toMatchObject({ code: 'source_overflow' });
  });

  test('a function of the options that throws fails the source', async () => {
    for (const name of ['decode', 'isEnd'] as const) {
      const { peer, socket } = await connected();
      const source = fromWebSocket(socket, {
        decode: (message) => message,
        [name]: (message: WebSocketMessage) => {
          if (message === 'bad') throw new RangeError('no such message');
          return name === 'decode' ? message : false;
        },
      });
      const code = closed(peer);
      for (const message of ['a', 'bad', 'b']) peer.send(message);
      const { chunks, error } = await within(collect(source), 'the end');
      expect(chunks).toEqual(['a']);
      expect(error).toBeInstanceOf(RangeError);
      expect(await code).toBe(1011);
    }
  });

  test.each<Omit<WebSocketSourceOptions, 'decode'>>([
    { maxMessageBytes: 0 },
    { maxMessageBytes: NaN },
    { maxBufferedBytes: -1 },
    { closeTimeoutMs: 0 },
    { completeCodes: [1006] },
    { completeCodes: [1015] },
    { completeCodes: [999] },
    { completeCodes: [1000.5] },
  ])('%o is refused', async (options) => {
    const { socket } = await connected();
    expect(() => fromWebSocket(socket, options)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
    expectNoListeners(socket);
  });
});

test('promise 4: however a reader lags, it gets every message once and in order', async () => {
  await checkProperty(
    'websocket source',
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 60 }),
      fc.array(fc.constantFrom('now', 'later', 'much later'), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 100_000 }),
      fc.boolean(),
      async (sizes, waits, maxBytes, isCompressed) => {
        const { peer, socket } = await connected(
          { perMessageDeflate: isCompressed && { threshold: 0 } },
          { perMessageDeflate: isCompressed },
        );
        const channel = openChannel<WebSocketMessage>({ maxBytes, weigh: (message) => message.length });
        const reader = channel.reader();
        const source = fromWebSocket(socket, { isEnd });
        const read = async (): Promise<void> => {
          for await (const message of source) await channel.write(message);
          channel.complete();
        };
        const reading = read();
        const sent = sizes.map((size, index) => `${index}:`.padEnd(size, 'x'));
        for (const message of sent) peer.send(numberOf(message) % 2 === 0 ? message : Buffer.from(message));
        peer.send('end');
        const got: string[] = [];
        for await (const message of reader) {
          got.push(typeof message === 'string' ? message : Buffer.from(message).toString());
          const wait = waits[got.length % waits.length];
          if (wait === 'later') await Promise.resolve();
          if (wait === 'much later') await new Promise(setImmediate);
        }
        await within(reading, 'the source');
        expect(got).toEqual([...sent, 'end']);
        await closed(socket);
        expectNoListeners(socket);
      },
    ),
    40,
  );
});

function numberOf(message: string): number {
  return Number(message.slice(0, message.indexOf(':')));
}

test.each([
  ['a close', (peer: WebSocket) => peer.close(1000)],
  ['its connection gone', (peer: WebSocket) => void setTimeout(() => peer.terminate(), 20)],
  ['a message that is too large', (peer: WebSocket) => peer.send('x'.repeat(20_000))],
])('what comes right behind the end changes nothing: %s', async (_what, follow) => {
  const { peer, socket } = await connected();
  const source = fromWebSocket(socket, { isEnd, maxMessageBytes: 10_000 });
  const texts = collect(
    (async function* slowly() {
      for await (const message of source) {
        yield message;
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    })(),
  );
  for (const text of ['a', 'b', 'end']) peer.send(text);
  follow(peer);
  const { chunks, error } = await within(texts, 'the end');
  expect(chunks.slice(0, 2)).toEqual(['a', 'b']);
  expect(error).toBeUndefined();
});
