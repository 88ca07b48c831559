import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { HeldBody } from '../src/memory/held-body.ts';
import { type Reply, sendRequest } from '../src/source/reply.ts';
import { chunk, lastChunk, startRawProvider, wholeAnswer } from './support/raw-provider.ts';
import { readers } from './support/readers.ts';
import { eventually } from './support/spawn.ts';
import { openPool } from './support/transports.ts';

const get = { method: 'GET', path: '/', headers: {}, body: null } as const;
const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

function never(): AbortSignal {
  return new AbortController().signal;
}

/** Takes a body, and pauses after each piece in one of the ways in which others do. */
async function takeSlowly(reply: Reply, resume: (go: () => void, piece: number) => void): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let isPaused = false;
  const { promise, reject, resolve } = Promise.withResolvers<Buffer>();
  reply.consume({
    data(bytes, start, end) {
      if (isPaused) reject(new Error('something came after a pause'));
      if (end - start > 16_384) reject(new Error('more than one read came at once'));
      pieces.push(Buffer.from(bytes.subarray(start, end)));
      isPaused = true;
      reply.pause();
      resume(() => {
        isPaused = false;
        reply.resume();
      }, pieces.length);
    },
    complete: () => resolve(Buffer.concat(pieces)),
    fail: reject,
  });
  return await within(promise, 'the body');
}

describe.each(readers)('read by %s', (reader) => {
  const body = Buffer.from(Array.from({ length: 150_000 }, (_, at) => at % 251));
  const inChunks = (): Buffer => {
    const parts: Buffer[] = [];
    for (let at = 0; at < body.length; at += 3000) parts.push(chunk(body.subarray(at, at + 3000)));
    return Buffer.concat([...parts, Buffer.from(lastChunk)]);
  };
  const framings: readonly (readonly [string, Buffer, boolean])[] = [
    ['a length', wholeAnswer(body, {}), false],
    ['a length, and the connection closes', wholeAnswer(body, { connection: 'close' }), true],
    ['chunks', Buffer.concat([Buffer.from(chunked), inChunks()]), false],
    ['neither', Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), body]), true],
  ];
  const ways: readonly (readonly [string, (go: () => void, piece: number) => void])[] = [
    ['at once', (go) => go()],
    ['in a microtask', (go) => queueMicrotask(go)],
    ['in the next turn', (go) => void setImmediate(go)],
    ['later', (go) => void setTimeout(go, 3)],
    [
      'now so, now so',
      (go, piece) => [() => go(), () => queueMicrotask(go), () => void setTimeout(go, 2)][piece % 3]?.(),
    ],
  ];

  test.each(framings)('a body with %s is whole, however it is paused', async (_what, answer, closes) => {
    const provider = await startRawProvider((_asked, socket) => {
      if (closes) socket.end(answer);
      else socket.write(answer);
    });
    const pool = openPool(provider.url, reader);
    for (const [way, resume] of ways) {
      const reply = await within(sendRequest(pool, get, never()), 'the head');
      // Now and then all of it is there before anybody wants it.
      if (way === 'later') await sleep(20);
      expect((await takeSlowly(reply, resume)).equals(body), way).toBe(true);
    }
  });

  test('bodies of many connections, each of which makes another one go on', async () => {
    const provider = await startRawProvider((_asked, socket) => void socket.write(wholeAnswer(body, {})));
    const pool = openPool(provider.url, reader);
    const waiting: (() => void)[] = [];
    const resume = (go: () => void): void => {
      waiting.push(go);
      if (waiting.length > 4) waiting.shift()?.();
      else setTimeout(() => waiting.shift()?.(), 5);
    };
    const replies = await Promise.all(Array.from({ length: 8 }, () => sendRequest(pool, get, never())));
    const bodies = await Promise.all(replies.map((reply) => takeSlowly(reply, resume)));
    for (const each of bodies) expect(each.equals(body)).toBe(true);
  });

  test('promise 1: a paused body stops its peer', async () => {
    let written = 0;
    const provider = await startRawProvider((_asked, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const piece = Buffer.alloc(65_536);
      const write = (): void => {
        for (let isFree = true; isFree && !socket.destroyed; written += piece.length)
          isFree = socket.write(piece);
        socket.once('drain', write);
      };
      write();
    });
    const reply = await sendRequest(openPool(provider.url, reader), get, never());
    let taken = 0;
    reply.consume({
      data(_, start, end) {
        taken += end - start;
        reply.pause();
      },
      complete: () => expect.unreachable(),
      fail: () => undefined,
    });
    // What kernels take, and then nothing for a while.
    let before = -1;
    await eventually(async () => {
      const isStill = before === written;
      before = written;
      await sleep(200);
      return isStill;
    }, 'it to stop');
    expect(taken).toBeLessThanOrEqual(16_384);
    reply.discard();
  });

  test.each<readonly [string, (socket: Socket) => void]>([
    ['before the head', () => undefined],
    ['behind a first word', (socket) => void socket.write('HTTP/1.1 103 Early Hints\r\n\r\n')],
    ['behind the head', (socket) => void socket.write(chunked)],
    ['in the body', (socket) => void socket.write(Buffer.concat([Buffer.from(chunked), chunk('hello')]))],
    ['paused', (socket) => void socket.write(Buffer.concat([Buffer.from(chunked), chunk(body)]))],
  ])('promise 6: an abort closes its connection: %s', async (phase, answer) => {
    const closed = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const provider = await startRawProvider((_asked, socket) => {
      socket.on('close', () => closed.resolve());
      answer(socket);
      asked.resolve();
    });
    const aborting = new AbortController();
    const sending = sendRequest(openPool(provider.url, reader), get, aborting.signal);
    sending.catch(() => undefined);
    await within(asked.promise, 'the request');
    await sleep(30);
    const failed = Promise.withResolvers<Error>();
    if (!phase.startsWith('be') || phase === 'behind the head') {
      const reply = await within(sending, 'the head');
      if (phase !== 'behind the head') {
        reply.consume({
          data: () => {
            if (phase === 'paused') reply.pause();
          },
          complete: () => expect.unreachable(),
          fail: failed.resolve,
        });
      } else {
        failed.resolve(new Error('gone'));
      }
    } else {
      sending.catch((error: unknown) => failed.resolve(error as Error));
    }
    aborting.abort(new Error('gone'));
    expect((await within(failed.promise, 'the failure')).message).toBe('gone');
    await within(closed.promise, 'the connection to close');
  });

  test('promise 6: an abort gives up a connection that is being made', async () => {
    const { createServer } = await import('node:net');
    const closed = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket
        .on('error', () => undefined)
        .on('close', () => closed.resolve())
        .resume();
      opened.resolve();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const aborting = new AbortController();
    const sending = sendRequest(openPool(`https://127.0.0.1:${port}`, reader), get, aborting.signal);
    const failed = sending.catch((error: Error) => error.message);
    await within(opened.promise, 'the connection');
    aborting.abort(new Error('gone'));
    // Whether it was sent is no matter to who has left.
    expect(await within(failed, 'the failure')).toMatch(/^gone$|not sent/);
    await within(closed.promise, 'the connection to close');
    server.close();
  });

  test('deadlines: no head, and a request that is answered and not read', async () => {
    const silent = await startRawProvider(() => undefined);
    const limits = { responseTimeoutMs: 200 };
    const late = sendRequest(openPool(silent.url, reader, limits), get, never());
    await expect(within(late, 'the deadline')).rejects.toThrow('no response within 200 ms');
  });

  test('connections are used again, and one that was told to close is not', async () => {
    const sockets = new Set<Socket>();
    let closes = false;
    const provider = await startRawProvider((_asked, socket) => {
      sockets.add(socket);
      socket.write(wholeAnswer('ok', closes ? { connection: 'close' } : {}));
    });
    const pool = openPool(provider.url, reader);
    const ask = async (): Promise<void> => {
      const reply = await within(sendRequest(pool, get, never()), 'the head');
      expect((await takeSlowly(reply, (go) => go())).toString()).toBe('ok');
      await sleep(10);
    };
    for (let count = 0; count < 5; count += 1) await ask();
    expect(sockets.size).toBe(1);
    closes = true;
    await ask();
    await ask();
    expect(sockets.size).toBe(2);
  });

  test('open connections stay within their bound', async () => {
    const kept = wholeAnswer('ok', { 'keep-alive': 'timeout=600' });
    const provider = await startRawProvider((_asked, socket) => void socket.write(kept));
    let open = 0;
    provider.server.on('connection', (socket: Socket) => {
      open += 1;
      socket.on('close', () => (open -= 1));
    });
    const pool = openPool(provider.url, reader, { maxStreams: 4 });
    const replies = await Promise.all(Array.from({ length: 4 }, () => sendRequest(pool, get, never())));
    for (const reply of replies) await takeSlowly(reply, (go) => go());
    await sleep(50);
    expect(open).toBe(4);
    pool.makeRoom();
    await eventually(() => open === 0, 'those without a request to be closed');
  });

  test('a body of many parts arrives as one, with its length', async () => {
    const provider = await startRawProvider((_asked, socket) => void socket.write(wholeAnswer('ok')));
    const pool = openPool(provider.url, reader);
    const parts = Array.from({ length: 50 }, (_, count) => Buffer.alloc(count * 3000, 97 + (count % 26)));
    const whole = Buffer.concat(parts).toString();
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      const request = { method, path: '/a?b=c', headers: { 'x-a': 'b' }, body: new HeldBody(parts) };
      const reply = await within(sendRequest(pool, request, never()), 'the head');
      let isSent = false;
      reply.whenSent(() => (isSent = true));
      await takeSlowly(reply, (go) => go());
      expect(isSent).toBe(true);
      const asked = provider.asked.at(-1);
      expect([asked?.method, asked?.path, asked?.headers['x-a']]).toEqual([method, '/a?b=c', 'b']);
      expect(asked?.headers['host']).toBe(new URL(provider.url).host);
      expect(asked?.body === whole).toBe(true);
    }
    const empty = { method: 'POST', path: '/', headers: {}, body: new HeldBody([]) } as const;
    await takeSlowly(await sendRequest(pool, empty, never()), (go) => go());
    expect(provider.asked.at(-1)?.headers['content-length']).toBe('0');
  });

  test.each([
    { path: '/a b', headers: {} },
    { path: '//host/a', headers: {} },
    { path: 'a', headers: {} },
    { path: '/a', headers: { 'x y': 'z' } },
    { path: '/a', headers: { x: 'y\r\nz: 1' } },
  ])('nothing is sent that could be two requests: %j', async ({ headers, path }) => {
    const provider = await startRawProvider((_asked, socket) => void socket.write(wholeAnswer('ok')));
    const sending = sendRequest(openPool(provider.url, reader), { ...get, path, headers }, never());
    await expect(sending).rejects.toThrow();
    expect(provider.asked).toEqual([]);
  });
});
