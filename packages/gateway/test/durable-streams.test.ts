import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { stream } from '@durable-streams/client';
import type { Reader } from '@spillway/core';
import { type EventSourceMessage, createParser } from 'eventsource-parser';
import { describe, expect, test, vi } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { startOwnStream } from './support/own-stream.ts';
import { offset, openStream, storedText, wholeStream } from './support/stream-url.ts';

interface Control {
  readonly streamNextOffset: string;
  readonly streamCursor?: string;
  readonly upToDate?: boolean;
  readonly streamClosed?: boolean;
  readonly streamState?: string;
}

/** The events of Durable Streams’ own event stream. */
function eventsIn(text: string): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  createParser({ onEvent: (event) => events.push(event) }).feed(text);
  return events;
}

function controlsIn(text: string): Control[] {
  return eventsIn(text)
    .filter(({ event }) => event === 'control')
    .map(({ data }) => JSON.parse(data) as Control);
}

/** What the published client reads. */
async function readAll(url: string, live: boolean | 'long-poll' | 'sse', from = '-1'): Promise<string> {
  const reader = await stream({ url, offset: from, live, warnOnHttp: false });
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader.bodyStream()) chunks.push(chunk);
  if (live !== false) expect(reader.streamClosed).toBe(true);
  return Buffer.concat(chunks).toString();
}

describe('the published client of Durable Streams', () => {
  test.each([true, 'long-poll', 'sse'] as const)('reads a stream while it runs: live %s', async (live) => {
    const gateway = await startGateway();
    const { response, url } = await openStream(gateway.url, 'sim:tokens=24,tps=100,ttft=100,batch=2');
    const [, read] = await Promise.all([response.text(), readAll(url, live)]);
    expect(read).toBe(await storedText(url));
  });

  test.each([false, true, 'sse'] as const)('reads a stream that has ended: live %s', async (live) => {
    const gateway = await startGateway();
    const { text, url } = await wholeStream(gateway.url, 'sim:tokens=80,tps=0,ttft=0');
    expect(await readAll(url, live)).toBe(text);
  });

  test.each(['long-poll', 'sse'] as const)('goes on where it was: live %s', async (live) => {
    const gateway = await startGateway();
    const { response, url } = await openStream(gateway.url, 'sim:tokens=24,tps=50,ttft=0');
    const text = response.text();
    const first = await stream({ url, offset: '-1', live, warnOnHttp: false });
    const chunks: Uint8Array[] = [];
    let next = '';
    await new Promise<void>((resolve) => {
      const stop = first.subscribeBytes(({ data, offset: behind }) => {
        chunks.push(data);
        next = behind;
        if (chunks.length < 8) return;
        stop();
        first.cancel();
        resolve();
      });
    });
    const rest = await readAll(url, live, next);
    expect(rest).not.toBe('');
    await text;
    expect(Buffer.concat(chunks).toString() + rest).toBe(await storedText(url));
  });

  test('gets CRLF as it is by long-poll, and as LF by events', async () => {
    const gateway = await startGateway();
    const { response, url } = await openStream(gateway.url, 'sim:tokens=20,tps=100,ttft=200,eol=crlf');
    const [, poll, sse] = await Promise.all([
      response.text(),
      readAll(url, 'long-poll'),
      readAll(url, 'sse'),
    ]);
    const first = await storedText(url);
    expect(first).toContain('\r\n\r\n');
    expect(poll).toBe(first);
    expect(sse.replaceAll('\r\n', '\n').replaceAll(/\n+/g, '\n')).toBe(first.replaceAll(/(?:\r\n)+/g, '\n'));
  });
});

describe('4.6 the end of a stream that has ended', () => {
  test('is said in each way of reading, and before it nowhere', async () => {
    const gateway = await startGateway();
    const { next, text, url } = await wholeStream(gateway.url, 'sim:tokens=9,tps=50,ttft=0');
    const closed = { 'stream-next-offset': next, 'stream-closed': 'true', 'stream-state': 'completed' };
    const upToDate = { ...closed, 'stream-up-to-date': 'true' };
    for (const query of ['', `?offset=${next}`, '?offset=now']) {
      const { headers, status } = await fetch(url + query);
      expect([status, Object.fromEntries(headers)], query).toMatchObject([200, upToDate]);
    }
    for (const from of [next, 'now']) {
      const poll = await fetch(`${url}?offset=${from}&live=long-poll`);
      expect([poll.status, Object.fromEntries(poll.headers)]).toMatchObject([204, upToDate]);
      const sse = await (await fetch(`${url}?offset=${from}&live=sse`)).text();
      const end = { streamNextOffset: next, upToDate: true, streamClosed: true, streamState: 'completed' };
      expect(controlsIn(sse)).toEqual([end]);
    }
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, Object.fromEntries(head.headers)]).toMatchObject([200, closed]);
    expect(head.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const sse = await fetch(`${url}?offset=-1&live=sse`);
    expect(sse.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const events = await sse.text();
    const data = eventsIn(events).filter(({ event }) => event === 'data');
    expect(data.map((event) => event.data).join('')).toBe(text);
    const controls = controlsIn(events);
    expect(controls.map(({ streamClosed }) => streamClosed === true)).toEqual(
      controls.map((_control, index) => index === controls.length - 1),
    );
    for (const { streamClosed, streamCursor } of controls) {
      expect(streamCursor === undefined).toBe(streamClosed === true);
    }
  });

  test('of one that failed says so', async () => {
    const gateway = await startGateway();
    const { text, url } = await wholeStream(gateway.url, 'sim:tokens=5,tps=0,ttft=0,unfinished');
    // The gateway’s own error is no part of the stream.
    expect(text).toContain(await readAll(url, 'sse'));
    const sse = await (await fetch(`${url}?offset=now&live=sse`)).text();
    expect(controlsIn(sse)).toMatchObject([{ streamClosed: true, streamState: 'failed' }]);
  });
});

test('an entity tag saves what the client has, until there is more or an end', async () => {
  const gateway = await startGateway();
  const { response, url } = await openStream(gateway.url, 'sim:stall=3,tps=0,ttft=0');
  const reader = response.body?.getReader();
  await reader?.read();
  const read = async (tag = ''): Promise<{ status: number; tag: string }> => {
    const answer = await fetch(url, { headers: { 'if-none-match': tag } });
    return { status: answer.status, tag: answer.headers.get('etag') ?? '' };
  };
  const open = await eventually(async () => {
    const { tag } = await read();
    return (await read(tag)).status === 304 && tag;
  }, 'the stream to stand still');
  expect((await read(`"other", ${open}`)).status).toBe(304);
  expect((await fetch(`${url}?offset=now`)).headers.get('etag')).toBeNull();
  await fetch(url, { method: 'DELETE' });
  expect((await read(open)).status).toBe(410);
  const { url: whole } = await wholeStream(gateway.url, 'sim:tokens=3,tps=0,ttft=0');
  const tag = (await fetch(whole)).headers.get('etag') ?? '';
  expect((await fetch(whole, { headers: { 'if-none-match': tag } })).status).toBe(304);
  expect((await fetch(`${whole}?offset=${offset(1)}`)).headers.get('etag')).not.toBe(tag);
});

describe('a live read without an end', () => {
  test('a long-poll is answered without data after its time', async () => {
    const clock = new VirtualClock();
    const { say, stream: opened, url } = await startOwnStream({ clock });
    const poll = async (query: string): Promise<Response> => {
      const answer = fetch(`${url}?${query}&live=long-poll`);
      await eventually(() => opened.audience.visitors.size === 1, 'it to wait');
      await clock.advance(24_999);
      expect(opened.audience.visitors.size).toBe(1);
      await clock.advance(1);
      return answer;
    };
    const first = await poll('offset=-1');
    expect([first.status, Object.fromEntries(first.headers)]).toMatchObject([
      204,
      { 'stream-next-offset': offset(0), 'stream-up-to-date': 'true', 'stream-state': 'open' },
    ]);
    expect(first.headers.get('stream-closed')).toBeNull();
    const cursor = Number(first.headers.get('stream-cursor'));
    const again = await poll(`offset=-1&cursor=${cursor}`);
    expect(Number(again.headers.get('stream-cursor'))).toBeGreaterThan(cursor);
    const waiting = fetch(`${url}?offset=now&live=long-poll`);
    await eventually(() => opened.audience.visitors.size === 1, 'it to wait');
    say('data: 1\n\n');
    expect(await (await fetch(`${url}?offset=-1&live=long-poll`)).text()).toBe('data: 1\n\n');
    await waiting;
  });

  test('a long-poll is answered with the first data that comes', async () => {
    const { say, stream: opened, url } = await startOwnStream();
    say('data: 1\n\n');
    const poll = fetch(`${url}?offset=${offset(1)}&live=long-poll`);
    await fetch(`${url}?offset=${offset(1)}`);
    say('data: 2\n\n');
    expect(await (await poll).text()).toBe('data: 2\n\n');
    // It is none that keeps a model going.
    expect(opened.audience.readers.size).toBe(0);
  });

  test('a long-poll holds nothing when its client has left', async () => {
    const { channel, url } = await startOwnStream();
    const readers = vi.spyOn(channel, 'reader');
    const abort = new AbortController();
    const poll = fetch(`${url}?offset=now&live=long-poll`, { signal: abort.signal }).catch(() => 'left');
    await eventually(() => readers.mock.results.length === 1, 'it to wait');
    const reader = readers.mock.results[0]?.value as Reader<unknown>;
    expect(reader.end).toBeUndefined();
    abort.abort();
    expect(await poll).toBe('left');
    await eventually(() => reader.end?.state === 'detached', 'it to be ended');
  });

  test('live=sse says first where it is, ends after its time, and is no reader any more', async () => {
    const clock = new VirtualClock();
    const { say, stream: opened, url } = await startOwnStream({ clock });
    say('data: 1\n\n');
    const live = await fetch(`${url}?offset=now&live=sse`);
    expect(opened.audience.readers.size).toBe(1);
    say('data: \u2028 2\n\n');
    await clock.advance(59_999);
    expect(opened.audience.readers.size).toBe(1);
    await clock.advance(1);
    const text = await live.text();
    expect(eventsIn(text).map(({ event }) => event)).toEqual(['control', 'data', 'control']);
    expect(eventsIn(text)[1]?.data).toBe('data: \u2028 2\n\n');
    const [first, last] = controlsIn(text);
    expect(first).toMatchObject({ streamNextOffset: offset(1), upToDate: true });
    expect(last).toMatchObject({ streamNextOffset: offset(2), upToDate: true });
    expect(Number(last?.streamCursor)).toBeGreaterThan(Number(first?.streamCursor));
    await eventually(() => opened.audience.readers.size === 0, 'it to be gone');
    expect(opened.end).toBeUndefined();
    expect(opened.signal.aborted).toBe(false);
  });
});
