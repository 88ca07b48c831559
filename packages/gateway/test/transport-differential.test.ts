import type { Socket } from 'node:net';
import { nodeClock } from '@spillway/server/time/node-clock';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { GatewayError } from '@spillway/server/errors';
import { openReply } from '../src/provider/open-reply.ts';
import type { Reply } from '../src/source/reply.ts';
import { ResponseError } from '../src/source/response-reader.ts';
import { startRawProvider } from './support/raw-provider.ts';
import type { Reader } from './support/readers.ts';
import { ambiguousResponses } from './support/responses.ts';
import { openPool } from './support/transports.ts';

// Each reader is the other's oracle: what a server does comes out of both in the same way.

/** What somebody who asks gets to know. */
interface Outcome {
  readonly head: unknown;
  readonly body: string;
  readonly end: string;
}

async function ask(reader: Reader, act: (socket: Socket) => Promise<void> | void): Promise<Outcome> {
  const provider = await startRawProvider((_asked, socket) => void act(socket));
  const pool = openPool(provider.url, reader, { maxHeaderBytes: 1024 });
  const { signal } = new AbortController();
  const options = { clock: nodeClock, retries: 0, connectRetries: 0, signal, onRetry: () => undefined };
  const asking = openReply(pool, { method: 'GET', path: '/', headers: {}, body: null }, options);
  let reply: Reply;
  try {
    reply = await within(asking, 'the head');
  } catch (error) {
    return { head: undefined, body: '', end: error instanceof GatewayError ? error.code : String(error) };
  }
  const { isDelimited, status } = reply;
  // Not the words behind the status: undici's are the standard's.
  const head = { status, isDelimited, headers: { ...reply.headers } };
  let body = '';
  const { promise, resolve } = Promise.withResolvers<string>();
  reply.consume({
    data: (bytes, start, end) => (body += bytes.toString('latin1', start, end)),
    complete: () => resolve('whole'),
    fail: (error) => resolve(error instanceof ResponseError ? 'upstream_invalid' : 'upstream_cut'),
  });
  return { head, end: await within(promise, 'the end'), body };
}

/** In one piece, and in pieces that each come alone. */
async function* deliveries(text: string): AsyncGenerator<(socket: Socket) => Promise<void>> {
  yield async (socket) => void socket.end(text, 'latin1');
  yield async (socket) => {
    socket.setNoDelay(true);
    for (let at = 0; at < text.length && !socket.destroyed; at += 7) {
      socket.write(text.slice(at, at + 7), 'latin1');
      await nextTurn();
      await nextTurn();
    }
    socket.end();
  };
}

async function expectSame(text: string): Promise<Outcome> {
  let outcome: Outcome | undefined;
  for await (const deliver of deliveries(text)) {
    const [ours, theirs] = await Promise.all([ask('built-in', deliver), ask('undici', deliver)]);
    // What came of a body before it stopped being one, and in the same read, our own keeps for itself.
    if (ours.end === 'upstream_invalid')
      expect(theirs).toEqual({ ...ours, body: expect.stringContaining(ours.body) });
    else expect(theirs).toEqual(ours);
    outcome = ours;
  }
  return outcome ?? expect.unreachable();
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

describe('both readers of replies', () => {
  test.each([
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
    ['chunks', `${chunked}5\r\nhello\r\n1A;a="b;c"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n`],
    ['trailers', `${chunked}5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n`],
    ['neither', 'HTTP/1.1 200 OK\r\n\r\nhello'],
    ['no reason', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n'],
    ['no body', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ['no body and a length of 0', 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n'],
    ['a length that is another answer’s', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n'],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['HTTP/1.0 until the connection ends', 'HTTP/1.0 200 OK\r\n\r\nok'],
    ['bytes that are not ASCII', 'HTTP/1.1 200 \xe4\r\nX-A: \xc3\xa4\r\nContent-Length: 2\r\n\r\n\xc3\xa4'],
    [
      'headers that come twice',
      'HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n',
    ],
    [
      'a first word',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    ],
    [
      'several',
      `${'HTTP/1.1 102 Processing\r\nX: 1\r\n\r\n'.repeat(5)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
    ],
    ['an error', 'HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy'],
    ['a large body', `HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`],
    ['more than its length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n'],
  ])('take it whole: %s', async (_what, text) => {
    expect((await expectSame(text)).end).toBe('whole');
  });

  test.each([
    ['before anything', ''],
    ['in the head', 'HTTP/1.1 200 OK\r\nContent-Len'],
    ['behind a first word', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
    ['in a body with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell'],
    [
      'in a body with a length, on a connection that closes',
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhell',
    ],
    ['in a chunk', `${chunked}5\r\nhel`],
    ['between chunks', `${chunked}5\r\nhello\r\n`],
    ['in the size of a chunk', `${chunked}5\r\nhello\r\n1`],
    [
      'between chunks, on a connection that closes',
      `${chunked.replace('OK', 'OK\r\nConnection: close')}5\r\nhello\r\n`,
    ],
    ['before the last line', `${chunked}5\r\nhello\r\n0\r\n`],
    ['in the trailers', `${chunked}5\r\nhello\r\n0\r\nX: `],
  ])('promise 7: tell a cut: %s', async (_what, text) => {
    expect((await expectSame(text)).end).toBe('upstream_cut');
  });

  test('tell a head that is too large', async () => {
    const { end } = await expectSame(
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(2000)}\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(end).toBe('upstream_invalid');
  });

  test.each(ambiguousResponses.filter((text) => !isTaken(text)))(
    'refuse what can be understood in two ways: %j',
    async (text) => {
      const { end } = await expectSame(text);
      expect(end).toBe('upstream_invalid');
    },
  );

  test('but undici refuses to be told to go on without having asked', async () => {
    const text = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    for await (const deliver of deliveries(text)) {
      expect(await ask('built-in', deliver)).toMatchObject({ body: 'ok', end: 'whole' });
      expect((await ask('undici', deliver)).end).toBe('upstream_invalid');
    }
  });

  // It does not say so, and nobody else could know.
  test.each(ambiguousResponses.filter(isTaken))('but undici takes %j', async (text) => {
    for await (const deliver of deliveries(text)) {
      expect((await ask('built-in', deliver)).end).toBe('upstream_invalid');
      expect((await ask('undici', deliver)).end).not.toBe('upstream_invalid');
    }
  });
});

/** An empty line in front, chunks in HTTP/1.0, tabs around what says how long a body is, and a size of many digits. */
function isTaken(text: string): boolean {
  return /^\r\n|^HTTP\/1\.0.*\r\nTransfer-Encoding|Content-Length:\t|chunked\t\r|0{13}/.test(text);
}
