import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { upstreamsAt } from './support/answers.ts';
import { type RunningGateway, startGateway } from './support/processes.ts';
import { openRaw, requestText } from './support/raw-connection.ts';
import { chunk, lastChunk, startRawProvider, wholeAnswer } from './support/raw-provider.ts';
import { type Reader, readers, upstreamFor } from './support/readers.ts';

// Where only a cut tells that the rest is missing: what came before it is there, the head included, and the body is broken.

const gemini = '/v1beta/models/m:streamGenerateContent?alt=sse';
const head = (type: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\nx-request-id: r1\r\ntransfer-encoding: chunked\r\n\r\n`;
const events = { 'content-type': 'text/event-stream' };

function eventOf(text: string): string {
  return `data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text }] }, index: 0 }] })}\r\n\r\n`;
}

async function start(
  reader: Reader,
  answer: (socket: Socket) => Promise<void> | void,
): Promise<RunningGateway> {
  const { url } = await startRawProvider((_asked, socket) => void answer(socket));
  return startGateway(['--upstream', upstreamFor(reader, upstreamsAt(url))]);
}

/** A request of a client that takes everything in an event stream for a piece of the answer. */
function requestOf(path: string): string {
  const body = '{"model":"m","contents":[]}';
  return requestText(
    path,
    [
      'content-type: application/json',
      `content-length: ${body.length}`,
      'x-goog-api-client: genai-js/0.24.1',
    ],
    body,
  );
}

/** What a client gets until its connection ends, and how that is. A `fetch` throws away what it has not handed on when it sees the end. */
async function readCut(
  url: string,
  text: string,
  pauseMs = 0,
): Promise<{ readonly head: string; readonly body: string; readonly end: string }> {
  const client = await openRaw(url, { text });
  const ended = Promise.withResolvers<string>();
  client.socket.on('end', () => ended.resolve('end'));
  client.socket.on('error', (error: NodeJS.ErrnoException) => ended.resolve(error.code ?? ''));
  if (pauseMs > 0) {
    client.socket.pause();
    setTimeout(() => client.socket.resume(), pauseMs);
  }
  const end = await within(ended.promise, 'the connection to end');
  const [first = '', ...rest] = client.received().split('\r\n\r\n');
  return { head: first, body: rest.join('\r\n\r\n'), end };
}

/** What is in a body's chunks, and whether there is a last one. */
function dechunk(body: string): { readonly text: string; readonly isWhole: boolean } {
  let text = '';
  for (let at = 0; at < body.length;) {
    const lineEnd = body.indexOf('\r\n', at);
    const length = Number.parseInt(body.slice(at, lineEnd), 16);
    if (length === 0) return { text, isWhole: true };
    text += body.slice(lineEnd + 2, lineEnd + 2 + length);
    at = lineEnd + 2 + length + 2;
  }
  return { text, isWhole: false };
}

function wordsOf(text: string): string {
  return [...text.matchAll(/"text":"([^"]*)"/g)].map(([, words]) => words).join('');
}

const three = [1, 2, 3].map((count) => eventOf(`<${count}>`)).join('');
const large = Array.from({ length: 1000 }, (_, count) => eventOf(`<${count}>${'x'.repeat(1000)}`)).join('');

describe.each(readers)('read by %s', (reader) => {
  describe('promise 7: a cut leaves what came before it', () => {
    test.each<readonly [string, string, (socket: Socket) => Promise<void> | void]>([
      [
        'events and the cut at once',
        three,
        (socket) => void socket.end(Buffer.concat([Buffer.from(head('text/event-stream')), chunk(three)])),
      ],
      [
        'a whole answer without a reason',
        three,
        (socket) => void socket.write(wholeAnswer(three, { ...events, 'x-request-id': 'r1' })),
      ],
      [
        'an event, and later more and the end at once',
        eventOf('<0>') + three,
        async (socket) => {
          socket.write(Buffer.concat([Buffer.from(head('text/event-stream')), chunk(eventOf('<0>'))]));
          await sleep(100);
          socket.write(Buffer.concat([chunk(three), Buffer.from(lastChunk)]));
        },
      ],
      [
        'a megabyte',
        large,
        (socket) => void socket.end(Buffer.concat([Buffer.from(head('text/event-stream')), chunk(large)])),
      ],
    ])('%s', async (_what, text, answer) => {
      const { url } = await start(reader, answer);
      for (const pauseMs of [0, 300]) {
        const { body, end, head: sent } = await readCut(url, requestOf(gemini), pauseMs);
        expect(sent).toMatch(/^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*x-request-id: r1\r\n/);
        const seen = dechunk(body);
        // What waited may be merged.
        const [got, expected] = [wordsOf(seen.text), wordsOf(text)];
        expect(got === expected, `${got.length} characters of ${expected.length}`).toBe(true);
        expect({ end, isWhole: seen.isWhole }).toEqual({ end: 'end', isWhole: false });
      }
    });

    test.each([
      ['with its length', 'content-length: 999'],
      ['in chunks', 'transfer-encoding: chunked'],
    ])('a body without events, %s', async (_how, framing) => {
      const body = '{"data":[{"embedding":[0.1';
      const piece = framing.includes('chunked') ? chunk(body) : body;
      const { url } = await start(reader, (socket) => {
        socket.end(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r1\r\n${framing}\r\n\r\n${piece.toString()}`,
        );
      });
      const seen = await readCut(url, requestOf('/v1/embeddings'));
      expect(seen.head).toMatch(/^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*x-request-id: r1\r\n/);
      if (framing.includes('chunked')) expect(dechunk(seen.body)).toEqual({ text: body, isWhole: false });
      else expect(seen.body).toBe(body);
    });
  });

  test('promise 7: in HTTP/1.0, where the end of the connection is that of the body, a cut is a reset', async () => {
    const gateway = await start(reader, async (socket) => {
      socket.write(Buffer.concat([Buffer.from(head('application/json')), chunk('{"data":[')]));
      await sleep(200);
      socket.destroy();
    });
    const { body, end } = await readCut(
      gateway.url,
      requestOf('/v1/embeddings').replace('HTTP/1.1', 'HTTP/1.0'),
    );
    expect(body).toContain('{"data":[');
    expect(end).toBe('ECONNRESET');
  });
});
