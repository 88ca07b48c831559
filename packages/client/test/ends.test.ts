import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, formatAnswers, type FormatAnswer, upstreamsAt } from '../../gateway/test/support/answers.ts';
import { eventually, type RunningGateway, startGateway } from '../../gateway/test/support/processes.ts';
import { chunk, lastChunk, startRawProvider, wholeAnswer } from '../../gateway/test/support/raw-provider.ts';
import { metric, payloads } from '../../gateway/test/support/requests.ts';
import { withoutIds } from '../../gateway/test/support/stream-url.ts';
import { openFetch } from './support/clients.ts';

// Every way in which a client reads, against the real gateway, with a provider that leaves its end marker out.

/** Nothing else is asked over a connection that is about to be closed. */
const closing = { 'content-type': 'text/event-stream', connection: 'close' };

type Read = (gateway: RunningGateway, answer: FormatAnswer) => Promise<string>;

/** How many streams have ended, in whatever way. */
async function endedIn({ adminUrl }: RunningGateway): Promise<number> {
  const counts = ['completed', 'failed'].map((state) =>
    metric(adminUrl, `spillway_streams_ended_total{state="${state}"}`),
  );
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/** A provider of which `write` says what it answers next, and a gateway in front of it. */
async function start(): Promise<{ gateway: RunningGateway; write: (bytes: string | Buffer) => void }> {
  let next: string | Buffer = '';
  const provider = await startRawProvider((_asked, socket) => {
    // Time for whoever reads by the URL to come.
    setTimeout(() => socket.end(next), 50);
  });
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url)]);
  return { gateway, write: (bytes) => (next = bytes) };
}

/** Asks over a bare socket, and reads only when the provider has been done for long. */
async function readLate(gateway: RunningGateway, { body, path }: FormatAnswer): Promise<string> {
  const before = await endedIn(gateway);
  const { hostname, port } = new URL(gateway.url);
  const socket = connect({ host: hostname, port: Number(port) });
  onTestFinished(() => void socket.destroy());
  socket.pause().on('error', () => undefined);
  const headers = `host: ${hostname}:${port}\r\nconnection: close\r\ncontent-type: application/json`;
  socket.write(
    `POST ${path} HTTP/1.1\r\n${headers}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  await eventually(async () => (await endedIn(gateway)) > before, 'the stream to end');
  let text = '';
  for await (const piece of socket.setEncoding('latin1') as AsyncIterable<string>) text += piece;
  return text
    .slice(text.indexOf('\r\n\r\n') + 4)
    .replaceAll(/(?:^|\r\n)[\da-f]+\r\n/g, '')
    .replace(/\r\n$/, '');
}

const ways: readonly (readonly [string, Read])[] = [
  ['at once', async ({ url }, answer) => await (await ask(url, answer)).text()],
  ['late', readLate],
  [
    'by its URL',
    async ({ url }, answer) => {
      const { body, headers } = await ask(url, answer);
      const at = url + (headers.get('content-location') ?? '');
      const events = await fetch(at, { headers: { accept: 'text/event-stream' } });
      await body?.cancel();
      return withoutIds(await events.text());
    },
  ],
  [
    'merged',
    async ({ url }, answer) => await (await ask(url, answer, { 'spillway-merge-ms': '100' })).text(),
  ],
  [
    'by createFetch',
    async ({ url }, answer) => await (await ask(url, answer, {}, openFetch({ url }))).text(),
  ],
];

/** The text of an answer in any format: merged or not. */
function textOf(events: string): string {
  return [...events.matchAll(/"(?:content|text|delta)":"([^"]*)"/g)].map(([, text]) => text).join('');
}

describe.each(ways)('promise 7: an answer without an end marker, read %s', (_way, read) => {
  test.each(formatAnswers)('is complete when HTTP says that it is: $format', async (answer) => {
    const { events } = answer;
    const { gateway, write } = await start();
    let completed = 0;
    const text = events.text + (events.reason === '' ? events.marker : events.reason);
    const head = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n';
    for (const bytes of [
      wholeAnswer(text, closing),
      `${head}transfer-encoding: chunked\r\n\r\n${chunk(text).toString()}${lastChunk}`,
    ]) {
      write(bytes);
      completed += 1;
      const got = await read(gateway, answer);
      expect(got).not.toContain('error');
      expect(got).not.toContain('[DONE]');
      expect(textOf(got)).toBe('one two');
      expect(payloads(got).at(-1)).toBe(payloads(text).at(-1));
      expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(
        completed,
      );
    }
  });

  test.each(formatAnswers.filter(({ events }) => events.reason !== ''))(
    'is an error when HTTP does not, or when a reason is missing: $format',
    async (answer) => {
      const { events } = answer;
      const { gateway, write } = await start();
      let failed = 0;
      const text = events.text + events.reason;
      const head = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n';
      for (const [what, bytes] of [
        ['the connection just closes', `${head}\r\n${text}`],
        ['it has less than its length', `${head}content-length: ${text.length + 1}\r\n\r\n${text}`],
        ['the last chunk is missing', `${head}transfer-encoding: chunked\r\n\r\n${chunk(text).toString()}`],
        ['no reason', wholeAnswer(events.text, closing)],
        ['half an event behind it', wholeAnswer(`${text}data: {`, closing)],
      ] as const) {
        write(bytes);
        failed += 1;
        const got = await read(gateway, answer);
        expect(payloads(got).at(-1), what).toContain('The provider closed the stream before its end');
        expect(textOf(got), what).toContain('one two');
        expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}'), what).toBe(
          failed,
        );
      }
    },
  );
});

test('a header that is no ASCII is the same by createFetch', async () => {
  const provider = await startRawProvider((_asked, socket) => {
    const name = Buffer.from('Zürich 東京').toString('latin1');
    socket.write(wholeAnswer('data: [DONE]\n\n', { 'content-type': 'text/event-stream', 'x-name': name }));
  });
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url)]);
  const [chat] = formatAnswers;
  for (const send of [fetch, openFetch({ url: gateway.url })]) {
    const { headers } = await ask(gateway.url, chat, {}, send);
    expect(Buffer.from(headers.get('x-name') ?? '', 'latin1').toString()).toBe('Zürich 東京');
  }
});

test('1.11 a redirect out of the provider’s origin is told by createFetch, too', async () => {
  const provider = await startRawProvider((_asked, socket) => {
    socket.write(wholeAnswer('', { location: 'https://elsewhere.example/v1' }, '307 Elsewhere'));
  });
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url)]);
  for (const answer of formatAnswers) {
    const response = await ask(gateway.url, answer, {}, openFetch({ url: gateway.url }));
    expect(response.status).toBe(307);
    expect(response.headers.get('location')).toBe(null);
    expect(await response.text()).toContain('https://elsewhere.example/v1');
  }
});
