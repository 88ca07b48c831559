import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { openClient, type StreamReader } from '../../client/src/index.ts';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventOf, startOwnProvider } from './support/own-provider.ts';
import {
  eventually,
  run,
  type RunningGateway,
  startBoth,
  startGateway,
  startSimulator,
  residentBytes,
  watchMemory,
} from './support/processes.ts';
import { chatBody, metric, payloads, postChat, rawChat } from './support/requests.ts';
import { within } from '../../core/test/support/within.ts';

const MiB = 1024 * 1024;
const windowBytes = 64 * 1024;
const allowanceBytes = 128 * 1024;
const eventMemoryBytes = 64 * MiB;

/** A picture, as base64 has it, between two words. */
const picture = 'sim:line=3000002,tokens=3,tps=0,ttft=0';
/** 36 MB in events of 0.9 MB: beyond what kernels take. */
const pictures = 'sim:size=900000,tokens=40,tps=0,ttft=0';

function largestLine(text: string): number {
  return Math.max(...text.split('\n').map((line) => line.length));
}

function heldBytes({ adminUrl }: RunningGateway): Promise<number> {
  return metric(adminUrl, 'spillway_events_large_held_bytes');
}

function waiting({ adminUrl }: RunningGateway): Promise<number> {
  return metric(adminUrl, 'spillway_events_large_waiting');
}

describe('an event that is larger than every window arrives', () => {
  test('by plain HTTP', async () => {
    const { gateway } = await startBoth();
    const text = await (await postChat(gateway.url, picture)).text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(largestLine(text)).toBe(3_000_000);
    await eventually(async () => (await heldBytes(gateway)) === 0, 'its place to be given back');
  });

  test.each([4096, 16_384, 65_536])('over a session with a window of %i bytes', async (window) => {
    const { gateway } = await startBoth();
    const client = openClient({ url: gateway.url, windowBytes: window, connectionWindowBytes: window });
    onTestFinished(() => client.close());
    const reader = client.request('/v1/chat/completions', {
      headers: { 'content-type': 'application/json' },
      body: chatBody(picture),
      autoAck: true,
    });
    let text = '';
    for await (const item of reader) if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(largestLine(text)).toBe(3_000_000);
    await eventually(async () => (await heldBytes(gateway)) === 0, 'its place to be given back');
  });

  test('over a session that has another stream, which nobody reads', async () => {
    const { gateway } = await startBoth();
    const client = openClient({ url: gateway.url });
    onTestFinished(() => client.close());
    const ask = (model: string): StreamReader =>
      client.request('/v1/chat/completions', {
        headers: { 'content-type': 'application/json' },
        body: chatBody(model),
        autoAck: true,
      });
    const unread = ask('sim:tps=0,ttft=0,tokens=5000');
    await unread.response;
    await eventually(() => unread.credit < 1000, 'its window to be full');
    const bytesOf = async (reader: StreamReader): Promise<number> => {
      let bytes = 0;
      for await (const item of reader) if (item.type === 'chunk') bytes += item.bytes.length;
      return bytes;
    };
    expect(await within(bytesOf(ask(picture)), 'the picture')).toBeGreaterThan(3_000_000);
    unread.cancel();
  });

  test.each([
    ['as events', '', { accept: 'text/event-stream' }],
    ['as events of data', '?live=sse&offset=-1', {}],
    ['in answers that wait for it', '?live=long-poll&offset=now', {}],
  ])('from the URL of its stream, %s', async (_how, query, headers) => {
    const { say, url } = await startOwnProvider();
    const gateway = await startGateway(['--upstream', `${url}/v1`]);
    const first = postChat(gateway.url, 'any');
    say('a word');
    const location = (await first).headers.get('content-location') ?? '';
    const second = fetch(gateway.url + location + query, { headers });
    if (query.includes('long-poll')) {
      await eventually(async () => (await metric(gateway.adminUrl, 'spillway_streams')) === 1, 'the stream');
      await new Promise((resolve) => setTimeout(resolve, 200));
    } else {
      await second;
    }
    say('x'.repeat(3_000_000));
    const large = 3_000_000 + eventOf('').length - 2;
    const withoutEnd = query.includes('long-poll') ? await (await second).text() : undefined;
    say(undefined);
    expect(largestLine(await (await first).text())).toBe(large);
    const text = withoutEnd ?? (await (await second).text());
    expect(largestLine(text)).toBeGreaterThanOrEqual(large);
    await eventually(async () => (await heldBytes(gateway)) === 0, 'its place to be given back');
  });
});

describe('what comes in one piece with the head of the answer is whole', () => {
  const events = [600, 3000, 12_000].map((bytes) => eventOf('x'.repeat(bytes)));
  const text = [...events, ...Array.from({ length: 10 }, () => eventOf('y'.repeat(400))), 'data: [DONE]\n\n'];

  /** All of it in one write. */
  async function startProvider(): Promise<string> {
    const body = text.join('');
    const server = createSocketServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        const head = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}`;
        socket.end(`${head}\r\nconnection: close\r\n\r\n${body}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test.each([1024, 4096, 16_384, 32_768])('with a window of %i bytes', async (window) => {
    const upstream = `${await startProvider()}/v1`;
    const gateway = await startGateway(['--upstream', upstream, '--window-bytes', String(window)]);
    const contentOf = (answer: string): string =>
      payloads(answer)
        .slice(0, -1)
        .map((payload) => payload.replaceAll(/[^xy]/g, ''))
        .join('');
    const whole = contentOf(text.join(''));
    expect(contentOf(await (await postChat(gateway.url, 'any')).text())).toBe(whole);
    const client = openClient({ url: gateway.url, windowBytes: 1024 });
    onTestFinished(() => client.close());
    const reader = client.request('/v1/chat/completions', {
      headers: { 'content-type': 'application/json' },
      body: chatBody('any'),
      autoAck: true,
    });
    let received = '';
    for await (const item of reader)
      if (item.type === 'chunk') received += Buffer.from(item.bytes).toString();
    expect(contentOf(received)).toBe(whole);
  });
});

describe('promise 1: large events have one memory over all streams', () => {
  test('and an answer with one has nothing else in it, which would be a copy for each reader', async () => {
    const { say, url } = await startOwnProvider();
    const gateway = await startGateway(['--upstream', `${url}/v1`]);
    const client = openClient({ url: gateway.url, windowBytes: 4096 });
    onTestFinished(() => client.close());
    const headers = { 'content-type': 'application/json' };
    const behind = client.request('/v1/chat/completions', { headers, body: chatBody('any') });
    // All of its window: what comes behind it waits in the channel.
    say('w'.repeat(5000));
    const streamUrl = gateway.url + (await behind.response).url;
    const read = async (at: string): Promise<{ events: number; next: string }> => {
      const answer = await within(fetch(`${streamUrl}?live=long-poll&offset=${at}`), 'an answer');
      expect(answer.status).toBe(200);
      const next = answer.headers.get('stream-next-offset') ?? '';
      return { events: payloads(await answer.text()).length, next };
    };
    const first = await read('-1');
    say('x'.repeat(100_000));
    say('after');
    const events = (): Promise<number> => metric(gateway.adminUrl, 'spillway_events_in_total');
    await eventually(async () => (await events()) === 3, 'both of them');
    const large = await read(first.next);
    const last = await read(large.next);
    expect([large.events, last.events]).toEqual([1, 1]);
    behind.cancel();
  });

  test.each([
    ['events', '', { accept: 'text/event-stream' }],
    ['events of data', '?live=sse&offset=-1', {}],
  ])('and who reads a stream’s URL as %s has no copy of them', async (_how, query, headers) => {
    const readers = 30;
    const { say, url } = await startOwnProvider();
    const gateway = await startGateway(['--upstream', `${url}/v1`, '--log-level=silent']);
    const first = postChat(gateway.url, 'any');
    say('a word');
    const location = (await first).headers.get('content-location') ?? '';
    for (let count = 0; count < readers; count += 1) {
      const response = await fetch(gateway.url + location + query, { headers });
      // A response that nobody holds is cancelled when it is collected.
      onTestFinished(() => void response.body?.cancel());
    }
    const before = residentBytes(gateway);
    const most = watchMemory(gateway);
    say('x'.repeat(15_000_000));
    // Each was sent it, and most have not taken it.
    const sent = readers * 15_000_000;
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_bytes_out_total')) > sent,
      'everybody to be sent the large one',
    );
    expect(most() - before).toBeLessThan(
      32 * MiB + readers * (windowBytes + allowanceBytes) + eventMemoryBytes,
    );
  });

  test('whose readers never read hold no more than that, and who waits goes on when they were ended', async () => {
    const readers = 60;
    // An idle time-out does not run while a provider is made to wait.
    const { gateway } = await startBoth([
      '--log-level=silent',
      '--stall-timeout-ms=6000',
      '--idle-timeout-ms=3000',
    ]);
    for (let count = 0; count < 5; count += 1) await (await postChat(gateway.url, pictures)).text();
    const before = await metric(gateway.adminUrl, 'process_memory_usage_bytes');
    await Promise.all(
      Array.from({ length: readers }, () => rawChat(gateway.url, pictures, { reads: false })),
    );
    // On a busy machine the first may be ended before the last is full.
    const most = { waiting: 0, held: 0, memory: 0 };
    await eventually(async () => {
      most.waiting = Math.max(most.waiting, await waiting(gateway));
      most.held = Math.max(most.held, await heldBytes(gateway));
      most.memory = Math.max(most.memory, await metric(gateway.adminUrl, 'process_memory_usage_bytes'));
      const full = await metric(gateway.adminUrl, 'spillway_streams{state="paused"}');
      const ended = await metric(gateway.adminUrl, 'spillway_readers_ended_total{reason="stalled"}');
      return full + ended >= readers;
    }, 'all readers to be full');
    expect(most.waiting).toBeGreaterThan(0);
    expect(most.held).toBeGreaterThan(16 * MiB);
    expect(most.held).toBeLessThanOrEqual(eventMemoryBytes);
    expect(most.memory - before).toBeLessThan(
      32 * MiB + readers * (windowBytes + allowanceBytes) + eventMemoryBytes,
    );
    expect(await metric(gateway.adminUrl, 'spillway_held_bytes')).toBeLessThanOrEqual(
      await metric(gateway.adminUrl, 'spillway_held_limit_bytes'),
    );
    // They have the same owner: the one that reads waits for the others.
    const text = await (await postChat(gateway.url, picture)).text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    const ended = 'spillway_streams_ended_total{state="failed",error_type="upstream_idle"}';
    expect(await metric(gateway.adminUrl, ended)).toBe(0);
    await eventually(async () => (await heldBytes(gateway)) === 0, 'all places to be given back');
    expect(await waiting(gateway)).toBe(0);
  }, 60_000);

  test('and a key whose readers never read leaves room for the event of another', async () => {
    const { url } = await startSimulator();
    const env = { SPILLWAY_API_KEYS: 'alpha beta' };
    const gateway = await startGateway(['--upstream', `${url}/v1`], { env });
    const greedy = { authorization: 'Bearer alpha' };
    for (let count = 0; count < 60; count += 1) {
      const response = await postChat(gateway.url, pictures, { headers: greedy });
      onTestFinished(() => void response.body?.cancel());
    }
    await eventually(async () => (await waiting(gateway)) > 20, 'the greedy key to have its share');
    const startedMs = performance.now();
    const other = await postChat(gateway.url, picture, { headers: { authorization: 'Bearer beta' } });
    expect(largestLine(await other.text())).toBe(3_000_000);
    expect(performance.now() - startedMs).toBeLessThan(5000);
    expect(await waiting(gateway)).toBeGreaterThan(20);
  }, 60_000);
});

test('a memory that has no room for one event is refused, with what would be enough', async () => {
  const gateway = run(['serve', '--max-event-bytes=1000000', '--max-event-memory-bytes=999999']);
  expect(await gateway.exited).toBe(78);
  expect(gateway.stderr()).toContain(
    'maxEventMemoryBytes (--max-event-memory-bytes): expected at least one event (maxEventBytes, 1000000)',
  );
});
