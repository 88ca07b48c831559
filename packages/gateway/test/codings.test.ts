import type { Socket } from 'node:net';
import type { Transform } from 'node:stream';
import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createBrotliDecompress,
  createDeflate,
  createDeflateRaw,
  createGunzip,
  createGzip,
  createZstdCompress,
  createZstdDecompress,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { DecodedBody, heldDecoderBytes } from '../src/source/decoded-body.ts';
import type { BodyHandler, ReplyBody } from '../src/source/reply-body.ts';
import { ask, formatAnswers, upstreamsAt } from './support/answers.ts';
import {
  eventually,
  residentBytes,
  type RunningGateway,
  startGateway,
  watchMemory,
} from './support/processes.ts';
import {
  chunk,
  lastChunk,
  type RawPair,
  rawPairForAll,
  startRawProvider,
  wholeAnswer,
} from './support/raw-provider.ts';
import { metric, payloads, postChat, rawChat } from './support/requests.ts';

const [chat] = formatAnswers;
const wholeText = chat.events.text + chat.events.reason + chat.events.marker;

function labels(coding: string): Record<string, string> {
  return { 'content-type': 'text/event-stream', 'content-encoding': coding };
}

const shared = rawPairForAll();

interface Started extends RawPair {
  readonly answer: (bytes: Buffer) => void;
}

function answering({ gateway, provider }: RawPair): Started {
  let next = Buffer.alloc(0);
  provider.answer = (_asked, socket) => void socket.write(next);
  return { gateway, provider, answer: (bytes) => (next = Buffer.from(bytes)) };
}

/** A gateway of this test alone, and a provider. */
async function startOwn(args: readonly string[] = []): Promise<Started> {
  const provider = await startRawProvider(() => undefined);
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url), ...args]);
  return answering({ gateway, provider });
}

/** How many more streams have ended so since then. */
async function countEnded({ adminUrl }: RunningGateway, state: string): Promise<() => Promise<number>> {
  const series = `spillway_streams_ended_total{state="${state}"}`;
  const before = await metric(adminUrl, series);
  return async () => (await metric(adminUrl, series)) - before;
}

function quickBrotli(bytes: Buffer): Buffer {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } });
}

function codeOf(text: string): string {
  const { error } = JSON.parse(payloads(text).at(-1) ?? text) as {
    readonly error: { readonly code: string };
  };
  return error.code;
}

describe('a word is not a coding', () => {
  test.each([
    'none',
    'None',
    'identity',
    'Identity',
    '',
    'utf-8',
    'UTF-8, none',
    'identity, identity',
    'none,,',
    'text/event-stream',
  ])('%j', async (word) => {
    const { answer, gateway } = answering(shared());
    const ended = await countEnded(gateway, 'completed');
    for (const format of formatAnswers) {
      const text = format.events.text + format.events.reason + format.events.marker;
      answer(wholeAnswer(text, labels(word)));
      const response = await ask(gateway.url, format);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-encoding')).toBe(null);
      expect(await response.text()).toBe(text);
    }
    expect(await ended()).toBe(5);
  });

  test.each(['gzip', 'deflate', 'br', 'zstd', 'gzip, br'])(
    'nor is %s, where nothing is compressed',
    async (coding) => {
      const { answer, gateway } = answering(shared());
      for (const first of ['', ': a queue\n\n', '\uFEFF', '\n', 'id: 1\n']) {
        answer(wholeAnswer(first + wholeText, labels(coding)));
        expect(await (await ask(gateway.url, chat)).text()).toBe(first.replace('\uFEFF', '') + wholeText);
      }
    },
  );
});

const flushed = { flush: constants.Z_SYNC_FLUSH };
const coders: readonly (readonly [string, readonly (() => Transform)[]])[] = [
  ['gzip', [() => createGzip(flushed)]],
  ['x-gzip', [() => createGzip(flushed)]],
  ['GZIP', [() => createGzip(flushed)]],
  ['none, gzip', [() => createGzip(flushed)]],
  ['deflate', [() => createDeflate(flushed)]],
  ['deflate', [() => createDeflateRaw(flushed)]],
  ['br', [() => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH })]],
  ['zstd', [() => createZstdCompress({ flush: constants.ZSTD_e_flush })]],
  ['gzip, gzip', [() => createGzip(flushed), () => createGzip(flushed)]],
  [
    'zstd, br',
    [
      () => createZstdCompress({ flush: constants.ZSTD_e_flush }),
      () => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
    ],
  ],
];

/** Writes pieces through coders, each whole on the wire before the next is asked for. */
function coded(
  socket: Socket,
  open: readonly (() => Transform)[],
): { write: (text: string) => void; end: () => void } {
  const streams = open.map((openOne) => openOne());
  const [first] = streams;
  const last = streams.reduce((from, to) => from.pipe(to));
  last.on('data', (bytes: Buffer) => socket.write(chunk(bytes)));
  last.on('end', () => socket.write(lastChunk));
  return { write: (text) => void first?.write(text), end: () => void first?.end() };
}

describe('events that are compressed although nobody asked', () => {
  test.each(coders)('come one by one, as they are written: %s', async (coding, open) => {
    let writer: ReturnType<typeof coded> | undefined;
    const { gateway, provider } = shared();
    provider.answer = (asked, socket) => {
      expect(asked.headers['accept-encoding']).toBe('identity');
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: ${coding}\r\ntransfer-encoding: chunked\r\n\r\n`,
      );
      writer = coded(socket, open);
      writer.write('data: {"at":0}\n\n');
    };
    const ended = await countEnded(gateway, 'completed');
    const response = await postChat(gateway.url, 'm');
    expect(response.headers.get('content-encoding')).toBe(null);
    let got = '';
    let sent = 'data: {"at":0}\n\n';
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      got += piece;
      if (got !== sent) continue;
      // Only now, when all that was written has come.
      const count = sent.split('data').length - 1;
      const next = count < 8 ? `data: {"at":${count}}\n\n` : 'data: [DONE]\n\n';
      if (sent.includes('[DONE]')) continue;
      sent += next;
      writer?.write(next);
      if (next.includes('[DONE]')) writer?.end();
    }
    expect(got).toBe(sent);
    expect(payloads(got)).toHaveLength(9);
    expect(await ended()).toBe(1);
  });

  test('in every format, also without an end marker', async () => {
    const { answer, gateway } = answering(shared());
    const ended = await countEnded(gateway, 'completed');
    for (const format of formatAnswers) {
      const text =
        format.events.text + (format.events.reason === '' ? format.events.marker : format.events.reason);
      answer(wholeAnswer(gzipSync(text), labels('gzip')));
      expect(await (await ask(gateway.url, format)).text()).toBe(text);
    }
    expect(await ended()).toBe(5);
  });

  test('over a connection that is used again', async () => {
    const { gateway, provider } = await startOwn();
    let connections = 0;
    provider.server.on('connection', () => (connections += 1));
    provider.answer = (_asked, socket) => void socket.write(wholeAnswer(gzipSync(wholeText), labels('gzip')));
    for (let turn = 0; turn < 3; turn += 1)
      expect(await (await ask(gateway.url, chat)).text()).toBe(wholeText);
    expect(connections).toBe(1);
  });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ] as const)('promise 7: cut anywhere are never complete: %s', async (coding, compress) => {
    const { answer, gateway } = answering(shared());
    const ended = await countEnded(gateway, 'failed');
    const whole = compress(chat.events.text + chat.events.reason);
    let failed = 0;
    for (let length = 0; length < whole.length; length += length < whole.length - 12 ? 9 : 1) {
      // HTTP says that it is whole.
      answer(wholeAnswer(whole.subarray(0, length), labels(coding)));
      const text = await (await ask(gateway.url, chat)).text();
      expect(['upstream_cut', 'upstream_invalid'], `${length} of ${whole.length}`).toContain(codeOf(text));
      failed += 1;
    }
    expect(await ended()).toBe(failed);
  });

  test('that cannot be decoded are told as that', async () => {
    const { answer, gateway } = answering(shared());
    for (const [bytes, coding] of [
      [Buffer.from([0x1f, 0x8b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 'gzip'],
      [Buffer.alloc(64, 0xff), 'br'],
      [Buffer.from(chat.events.text), 'compress'],
      [Buffer.from(chat.events.text), 'gzip, dcb'],
      [gzipSync(gzipSync(gzipSync(wholeText))), 'gzip, gzip, gzip'],
    ] as const) {
      answer(wholeAnswer(bytes, labels(coding)));
      const response = await ask(gateway.url, chat);
      expect(response.status, coding).toBe(502);
      expect(codeOf(await response.text()), coding).toBe('upstream_invalid');
    }
    // Neither in the coding that it says, nor text.
    for (const [name, compress] of Object.entries({
      br: brotliCompressSync,
      deflate: deflateSync,
      gzip: gzipSync,
      zstd: zstdCompressSync,
    })) {
      for (const coding of ['br', 'deflate', 'gzip', 'x-gzip', 'zstd', 'gzip, zstd', 'none, gzip']) {
        // One that is in another of its own codings is cut, or what is left of it is no text.
        if (coding.endsWith(name)) continue;
        for (const type of ['text/event-stream', 'application/json']) {
          // A few bytes may be in two codings by chance.
          for (const body of ['{"object":"chat.completion","model":"größer"}', wholeText]) {
            const head = { 'content-type': type, 'content-encoding': coding };
            answer(wholeAnswer(compress(body), head));
            const text = await (await ask(gateway.url, chat)).text();
            expect(['upstream_cut', 'upstream_invalid'], `${name}, not ${coding}: ${body}`).toContain(
              codeOf(text),
            );
          }
        }
      }
    }
    const cut = gzipSync(chat.events.text + chat.events.reason, { level: 0 });
    cut.fill(0xff, cut.length - 8);
    answer(wholeAnswer(cut, labels('gzip')));
    const text = await (await ask(gateway.url, chat)).text();
    expect(codeOf(text)).toBe('upstream_invalid');
  });

  test.each([
    ['gzip', gzipSync],
    ['br', quickBrotli],
    ['zstd', zstdCompressSync],
  ] as const)('promise 1: that grow a thousandfold stay within the bounds: %s', async (coding, compress) => {
    const args = ['--max-stream-bytes', '20000000', '--max-event-bytes', '1000000', '--log-level', 'silent'];
    const { answer, gateway } = await startOwn([...args, '--max-event-memory-bytes', '1000000']);
    const event = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(900)}"}}]}\n\n`;
    answer(wholeAnswer(compress(Buffer.from(event.repeat(30_000))), labels(coding)));
    expect(codeOf(await (await ask(gateway.url, chat)).text())).toBe('stream_too_large');
    answer(wholeAnswer(compress(Buffer.from(`data: ${'x'.repeat(10_000_000)}\n\n`)), labels(coding)));
    expect(codeOf(await (await ask(gateway.url, chat)).text())).toBe('event_too_large');
    answer(wholeAnswer(compress(Buffer.from(`:${'x'.repeat(10_000_000)}`)), labels(coding)));
    expect(codeOf(await (await ask(gateway.url, chat)).text())).toBe('event_too_large');
  });

  test.each([
    ['gzip', gzipSync],
    ['br', quickBrotli],
    ['zstd', zstdCompressSync],
  ] as const)('promise 1: wait for a reader that does not read: %s', async (coding, compress) => {
    const { answer, gateway } = await startOwn(['--log-level', 'silent']);
    // Nothing in it can be merged: it waits as it is.
    const event = `event: x\nid: 1\ndata: ${'x'.repeat(1000)}\n\n`;
    answer(wholeAnswer(compress(Buffer.from(event.repeat(60_000))), labels(coding)));
    await (await fetch(`${gateway.url}/health/live`)).text();
    const before = residentBytes(gateway);
    const most = watchMemory(gateway);
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => rawChat(gateway.url, 'm', { reads: false })),
    );
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === clients.length,
      'the providers to wait',
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    // 60 MB each; what a decoder keeps is a part.
    expect(most() - before).toBeLessThan(32 * 1024 * 1024 + 5 * (65_536 + 131_072 + 16_777_216));
    for (const { socket } of clients) socket.destroy();
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === 0,
      'the streams to end',
    );
  });

  test('are closed with their client', async () => {
    const left = Promise.withResolvers<void>();
    const { gateway, provider } = shared();
    provider.answer = (_asked, socket) => {
      socket.on('close', () => left.resolve());
      socket.write(
        'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n',
      );
      coded(socket, [() => createGzip(flushed)]).write(chat.events.text);
    };
    const client = await rawChat(gateway.url, 'm');
    await eventually(() => client.received().includes('two'), 'the first events');
    client.socket.destroy();
    await left.promise;
  });
});

describe('what else is compressed although nobody asked', () => {
  test('an error is read', async () => {
    const { answer, gateway } = answering(shared());
    const error = { error: { message: 'no such model', code: 'model_not_found' } };
    for (const [coding, compress] of [
      ['gzip', gzipSync],
      ['br', brotliCompressSync],
    ] as const) {
      const body = compress(JSON.stringify(error));
      answer(
        wholeAnswer(
          body,
          { 'content-type': 'application/json', 'content-encoding': coding },
          '404 Not Found',
        ),
      );
      const response = await ask(gateway.url, chat);
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual(error);
    }
  });

  test('an answer that is no stream is the client’s', async () => {
    const { answer, gateway } = answering(shared());
    const body = gzipSync('{"object":"chat.completion"}');
    answer(wholeAnswer(body, { 'content-type': 'application/json', 'content-encoding': 'gzip' }));
    for (const stream of [true, false]) {
      const response = await postChat(gateway.url, 'm', { stream });
      expect(await response.json()).toEqual({ object: 'chat.completion' });
    }
  });
});

test.each(['gzip', 'zstd', 'gzip, zstd'])('text that is not compressed is handed on: %s', async (coding) => {
  const { answer, gateway } = answering(shared());
  for (const text of ['{}', '{"object":"größer"}', ' [\n\t]\r\n', 'Zu viele Anfragen 太多', '"']) {
    answer(wholeAnswer(text, { 'content-type': 'application/json', 'content-encoding': coding }));
    const response = await postChat(gateway.url, 'm');
    expect(response.headers.get('content-encoding')).toBe(null);
    expect(await response.text()).toBe(text);
  }
});

test('the memory of all decoders is bounded, and given back', () => {
  const bodies = Array.from({ length: 2500 }, () => {
    const ended: (Error | undefined)[] = [];
    const body = new DecodedBody(
      { consume: () => undefined, pause: () => undefined, resume: () => undefined, cancel: () => undefined },
      createGunzip(),
      0,
    );
    body.consume({
      data: () => undefined,
      complete: () => ended.push(undefined),
      fail: (error) => ended.push(error),
    });
    return { body, ended };
  });
  // 128 MiB of 64 KiB.
  expect(bodies.filter(({ ended }) => ended.length > 0)).toHaveLength(2500 - 2048);
  expect(bodies.at(-1)?.ended[0]).toMatchObject({ code: 'overloaded' });
  expect(heldDecoderBytes()).toBe(128 * 1024 * 1024);
  for (const { body } of bodies) body.cancel(new Error('over'));
  expect(heldDecoderBytes()).toBe(0);
  for (const { ended } of bodies) expect(ended).toHaveLength(1);
});

/** A body that is read in pieces as long as nothing has paused it. */
class PiecesBody implements ReplyBody {
  readonly #bytes: Buffer;
  #at = 0;
  #isPaused = true;
  #handler: BodyHandler | undefined;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  consume(handler: BodyHandler): void {
    this.#handler = handler;
    this.resume();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    while (!this.#isPaused && this.#at < this.#bytes.length) {
      const end = Math.min(this.#bytes.length, this.#at + 1000);
      const from = this.#at;
      this.#at = end;
      this.#handler?.data(this.#bytes, from, end);
    }
    if (!this.#isPaused && this.#at === this.#bytes.length) {
      this.#at += 1;
      this.#handler?.complete();
    }
  }

  cancel(): void {
    this.#isPaused = true;
  }
}

test.each([
  ['gzip', gzipSync, createGunzip],
  ['br', quickBrotli, createBrotliDecompress],
  ['zstd', zstdCompressSync, createZstdDecompress],
] as const)('what is decoded stops where it is told, and goes on: %s', async (_coding, compress, open) => {
  const text = Buffer.alloc(30_000_000, 'data: x\n\n');
  const compressed = compress(text);
  const read = (pausesAt: number): { body: DecodedBody; ended: Promise<void>; bytes: () => number } => {
    const body = new DecodedBody(new PiecesBody(compressed), open(), 0);
    const ended = Promise.withResolvers<void>();
    let bytes = 0;
    body.consume({
      data: (piece, from, to) => {
        expect(piece.subarray(from, to).equals(text.subarray(bytes, bytes + to - from))).toBe(true);
        bytes += to - from;
        if (bytes >= pausesAt) body.pause();
      },
      complete: ended.resolve,
      fail: ended.reject,
    });
    return { body, ended: ended.promise, bytes: () => bytes };
  };
  const paused = read(1);
  // When another has decoded all of it, this one would have, too.
  const other = read(Infinity);
  await other.ended;
  expect(other.bytes()).toBe(text.length);
  expect(paused.bytes()).toBeLessThan(100_000);
  while (paused.bytes() < text.length) {
    paused.body.resume();
    await new Promise((resolve) => setImmediate(resolve));
  }
  paused.body.resume();
  await paused.ended;
  expect(paused.bytes()).toBe(text.length);
  expect(heldDecoderBytes()).toBe(0);
});
