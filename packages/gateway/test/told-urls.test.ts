import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openClient } from '../../client/src/index.ts';
import { upstreamsAt } from './support/answers.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { startRawProvider, wholeAnswer } from './support/raw-provider.ts';
import { openRaw, type RawConnection, requestText } from './support/raw-connection.ts';
import { payloads, type RawClient, rawChat } from './support/requests.ts';
import { newReader, openSession } from './support/session.ts';
import { idsOf, readEvents, withoutIds } from './support/stream-url.ts';

/** A gateway that sends comments at once, and a provider that answers when it is told. */
async function start(args: readonly string[] = []): Promise<{
  gateway: RunningGateway;
  /** Asks, and waits until the stream's URL was told: before the provider has answered. */
  open: () => Promise<{
    client: RawClient;
    url: string;
    /** Waits for the request at the provider: on a busy machine the URL may be told before. */
    asked: () => Promise<Socket>;
  }>;
}> {
  const asking: Socket[] = [];
  const { url } = await startRawProvider((_asked, socket) => void asking.push(socket));
  const upstream = ['--upstream', upstreamsAt(url)];
  const gateway = await startGateway([...upstream, '--keep-alive-ms', '25', '--retries', '0', ...args]);
  return {
    gateway,
    async open() {
      const client = await rawChat(gateway.url, 'm');
      await eventually(() => client.received().includes(': ping'), 'a comment');
      const [, path] = /^content-location: (\S+)\r$/im.exec(client.received()) ?? [];
      const asked = (): Promise<Socket> => eventually(() => asking.shift(), 'the request at the provider');
      return { client, url: gateway.url + path, asked };
    },
  };
}

/** It got everything: the last chunk of its answer. */
async function whole(client: RawClient): Promise<void> {
  await eventually(() => client.received().endsWith('\r\n0\r\n\r\n'), 'the end of an answer');
}

const words = 'There is no such one, say we.';
const refusal = JSON.stringify({ error: { message: words, type: 'x', param: null, code: 'x_code' } });
const json = { 'content-type': 'application/json' };

/** How a provider that was asked does not answer, and what clients are told of it. */
const endings: readonly {
  readonly name: string;
  readonly answer?: Buffer;
  readonly args?: readonly string[];
  readonly told: string;
}[] = [
  { name: 'a refusal', answer: wholeAnswer(refusal, json, '422 No'), told: words },
  {
    name: 'another refusal',
    answer: wholeAnswer(`<p>${words}</p>`, { 'content-type': 'text/html' }, '500 No'),
    told: words,
  },
  {
    name: 'a refusal in gzip',
    answer: wholeAnswer(gzipSync(refusal), { ...json, 'content-encoding': 'gzip' }, '422 No'),
    told: words,
  },
  { name: 'a refusal of 270 kB', answer: wholeAnswer(words.repeat(9000), json, '422 No'), told: words },
  { name: 'a refusal without words', answer: wholeAnswer('', {}, '500 No'), told: 'upstream_invalid' },
  {
    name: 'half a refusal',
    answer: wholeAnswer(refusal, json, '422 No').subarray(0, -9),
    args: ['--response-timeout-ms', '1000'],
    told: words,
  },
  {
    name: 'a redirect',
    answer: wholeAnswer('', { location: 'http://there.example/x' }, '307 There'),
    told: 'upstream_redirect',
  },
  { name: 'no answer', answer: Buffer.alloc(0), told: 'upstream_cut' },
  { name: 'no HTTP', answer: Buffer.from('no HTTP\r\n\r\n'), told: 'upstream_invalid' },
  { name: 'HTML', answer: wholeAnswer('<p>', { 'content-type': 'text/html' }), told: 'upstream_invalid' },
  { name: 'JSON', answer: wholeAnswer('{"choices":[]}', json), told: 'upstream_invalid' },
  { name: 'silence', args: ['--response-timeout-ms', '400'], told: 'upstream_timeout' },
  { name: 'silence for too long', args: ['--max-duration-ms', '1000'], told: 'stream_timeout' },
];

describe('4.1 a URL that was told before the answer is there, however that ends', () => {
  test.each(endings)('by $name', async ({ answer, args, told }) => {
    const { gateway, open } = await start(args);
    const { asked, client, url } = await open();
    const provider = await asked();
    // Somebody reads it already, in each way.
    const waiting = [fetch(url), readEvents(url), fetch(`${url}?offset=-1&live=sse`)] as const;
    if (answer?.length === 0) provider.destroy();
    else if (answer !== undefined) provider.write(answer);
    if (args !== undefined && answer !== undefined) setTimeout(() => provider.destroy(), 100);
    await whole(client);
    const error = payloads(client.received()).at(-1) ?? '';
    expect(error).toContain(told);
    for (const reads of [
      waiting,
      [fetch(url), readEvents(url), fetch(`${url}?offset=-1&live=sse`)] as const,
    ]) {
      const [there, events, sse] = await Promise.all(reads);
      expect([there.status, events.status, sse.status]).toEqual([200, 200, 200]);
      expect(there.headers.get('stream-closed')).toBe('true');
      expect(there.headers.get('stream-state')).toBe('failed');
      const text = await events.text();
      expect(payloads(withoutIds(text)).filter((payload) => payload === error)).toHaveLength(1);
      expect(await sse.text()).toContain('"streamClosed":true,"streamState":"failed"');
      // Who comes back has all of it.
      const last = await readEvents(url, { 'last-event-id': idsOf(text).at(-1) ?? '' });
      expect(last.status).toBe(204);
    }
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, head.headers.get('stream-state')]).toEqual([200, 'failed']);
    const session = openClient({ url: gateway.url });
    onTestFinished(() => session.close());
    const reader = session.read(url);
    let text = '';
    for await (const item of reader) {
      if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
      reader.ack(item.to);
    }
    expect(payloads(text).at(-1)).toBe(error);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    expect((await fetch(url)).headers.get('stream-state')).toBe('failed');
  });

  test('by a place that never became free', async () => {
    const { open } = await start(['--max-streams', '1', '--wait-timeout-ms', '1000']);
    await open();
    const { client, url } = await open();
    await whole(client);
    expect(payloads(client.received()).at(-1)).toContain('overloaded');
    expect(await (await readEvents(url)).text()).toContain('overloaded');
  });

  test.each(['a DELETE', 'its client'])('by %s', async (who) => {
    const { open } = await start();
    const { client, url } = await open();
    if (who === 'a DELETE') expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    else client.socket.destroy();
    const state = async (): Promise<string | null> =>
      (await fetch(url, { method: 'HEAD' })).headers.get('stream-state');
    await eventually(async () => (await state()) === 'cancelled', 'it to be cancelled');
    expect(await (await readEvents(url)).text()).toContain(
      who === 'a DELETE' ? '"cancelled"' : '"client_left"',
    );
  });

  test('and gone after retainMs', async () => {
    const { open } = await start(['--retain-ms', '1500']);
    const { asked, client, url } = await open();
    const provider = await asked();
    provider.write(wholeAnswer(refusal, json, '422 No'));
    await whole(client);
    expect((await fetch(url)).status).toBe(200);
    await eventually(async () => (await fetch(url)).status === 404, 'it to be forgotten');
  });

  test('what is kept of them is bounded: the oldest goes first', async () => {
    const { open } = await start(['--max-retained-bytes', '400000', '--window-bytes', '262144']);
    const urls: string[] = [];
    for (let count = 0; count < 8; count += 1) {
      const { asked, client, url } = await open();
      const provider = await asked();
      provider.write(wholeAnswer(words.repeat(2000), json, '422 No'));
      await whole(client);
      urls.push(url);
    }
    const statuses = await Promise.all(urls.map(async (url) => (await fetch(url)).status));
    expect([statuses[0], statuses.at(-1)]).toEqual([404, 200]);
  });
});

/** Sends a GET that waits for an answer that has not come. Resolves when the gateway has it. */
async function waitingGet(url: string, query: string, headers: readonly string[]): Promise<RawConnection> {
  const { origin, pathname } = new URL(url);
  const text = requestText(pathname + query, ['connection: close', ...headers]);
  const client = await openRaw(url, { text });
  // Each is a turn of the gateway: it takes the connection in one, and reads it in another.
  for (let turn = 0; turn < 5; turn += 1) await (await fetch(`${origin}/none`)).text();
  return client;
}

test.each([
  ['an answer', wholeAnswer(`data: {"choices":[{"delta":{"content":"${words}"}}]}\n\ndata: [DONE]\n\n`)],
  ['a refusal', wholeAnswer(refusal, json, '422 No')],
])(
  '4.4 who asks for what comes from now on, before the answer, gets all of it: %s',
  async (_what, answer) => {
    // A session answers pings within that.
    const { gateway, open } = await start(['--keep-alive-ms', '1000']);
    const { asked, client, url } = await open();
    const provider = await asked();
    const session = await openSession(gateway.url);
    const frame = { stream: 1, reader: newReader(), windowBytes: 65_536, url, headers: {} };
    session.send({ type: 'read', ...frame, url: new URL(url).pathname, from: 'now', overflow: 'disconnect' });
    session.send({ type: 'ping' });
    await eventually(() => session.of('pong').length === 1, 'the session to be read');
    const reads = [
      await waitingGet(url, '?offset=now&live=sse', []),
      await waitingGet(url, '?offset=now&live=long-poll', []),
      await waitingGet(url, '?offset=now', []),
      await waitingGet(url, '?offset=now', ['accept: text/event-stream']),
    ];
    provider.write(answer);
    await whole(client);
    await eventually(() => reads.every((read) => read.isOver()), 'the answers');
    for (const read of reads) {
      expect(read.received()).toMatch(/^HTTP\/1\.1 200 /);
      expect(read.received()).toContain(words);
    }
    await eventually(() => session.of('end').length === 1, 'the end over the session');
    expect(session.text()).toContain(words);
    // Now that is behind it.
    expect(await (await fetch(`${url}?offset=now&live=sse`)).text()).not.toContain(words);
  },
);
