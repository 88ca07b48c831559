import { until } from '../../core/test/support/until.ts';
import { openClient } from '../../client/src/index.ts';
import { expect, onTestFinished, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { Database, FollowedLog } from './support/followed-log.ts';
import { openStreams, runOf, startStream, textIn } from './support/own-streams.ts';
import { serveStreams } from './support/own-server.ts';

const words = Array.from({ length: 40 }, (_, index) => `${index} `);

/** A stream whose history is in a database. */
async function startFollowed(): Promise<{ database: Database; log: FollowedLog; url: string }> {
  const database = new Database();
  const log = new FollowedLog(database);
  const { streams } = openStreams();
  const { stream } = startStream(streams, { detach: 'finish' }, { log });
  return { database, log, url: (await serveStreams(streams)) + stream.url };
}

test('a history that is kept elsewhere is read by its URL: what is there, from an offset, and what comes', async () => {
  const { database, url } = await startFollowed();
  for (const word of words.slice(0, 20)) database.append(runOf(word));
  const first = await fetch(url);
  expect(textIn(await first.text())).toBe(words.slice(0, 10).join(''));
  expect(first.headers.get('stream-next-offset')).toBe('0000000000000010');
  const later = await fetch(`${url}?offset=0000000000000017`);
  expect(textIn(await later.text())).toBe(words.slice(17, 20).join(''));
  const waiting = fetch(`${url}?offset=0000000000000020&live=long-poll`);
  database.append(runOf(words[20] ?? ''));
  expect(textIn(await (await waiting).text())).toBe(words[20]);
  const events = await fetch(url, { headers: { accept: 'text/event-stream' } });
  for (const word of words.slice(21)) database.append(runOf(word));
  database.end = { state: 'completed' };
  const text = await within(events.text(), 'the end of the events');
  expect(textIn(text)).toBe(words.join(''));
  const id = /id: (\S+)\n\n$/.exec(text)?.[1] ?? '';
  const again = await fetch(url, { headers: { accept: 'text/event-stream', 'last-event-id': id } });
  expect(again.status).toBe(204);
  const head = await fetch(url, { method: 'HEAD' });
  expect(head.headers.get('stream-next-offset')).toBe('0000000000000040');
});

test('as Durable Streams has it, by server-sent events', async () => {
  const { database, url } = await startFollowed();
  for (const word of words) database.append(runOf(word));
  database.end = { state: 'completed' };
  const live = await fetch(`${url}?offset=-1&live=sse`);
  const text = await within(live.text(), 'the end');
  expect(textIn(text)).toBe(words.join(''));
  expect(text).toMatch(/"streamClosed":true/);
});

test('by a session, from the start and from an offset; what waits for one reader is merged for that one', async () => {
  const { database, url } = await startFollowed();
  for (const word of words) database.append(runOf(word));
  database.end = { state: 'completed' };
  const client = openClient({ url: new URL(url).origin });
  onTestFinished(() => client.close());
  const read = async (from: number): Promise<string> => {
    let events = '';
    const reader = client.read(url, { from, windowBytes: 1024, overflow: 'coalesce' });
    for await (const item of reader) {
      if (item.type === 'chunk') events += Buffer.from(item.bytes).toString();
      reader.ack(item.to);
    }
    return events;
  };
  const [all, rest] = await within(Promise.all([read(0), read(30)]), 'both to be read');
  expect([textIn(all), textIn(rest)]).toEqual([words.join(''), words.slice(30).join('')]);
  expect(all.split('\n\n').length).toBeLessThan(words.length);
});

test('what is gone there is gone here: 410, also where that is found out late', async () => {
  const { database, url } = await startFollowed();
  for (const word of words) database.append(runOf(word));
  database.trim(10);
  for (const headers of [{}, { accept: 'text/event-stream' }]) {
    const gone = await fetch(`${url}?offset=0000000000000005`, { headers });
    expect([gone.status, await gone.json()]).toMatchObject([410, { error: { code: 'history_gone' } }]);
  }
  const kept = await fetch(`${url}?offset=0000000000000010`);
  expect(textIn(await kept.text())).toBe(words.slice(10, 20).join(''));
});

test('who deletes it, cancels it there', async () => {
  const { log, url } = await startFollowed();
  expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
  expect(log.isCancelled).toBe(true);
});

test.each([
  ['what is there', {}, '?offset=-1'],
  ['a long-poll', {}, '?offset=-1&live=long-poll'],
  ['live events', {}, '?offset=-1&live=sse'],
  ['an EventSource', { accept: 'text/event-stream' }, ''],
])(
  'who leaves while a history has nothing to say ends the reading of it: %s',
  async (_what, headers, query) => {
    const { database, url } = await startFollowed();
    for (const word of words) database.append(runOf(word));
    database.isSilent = true;
    const leaving = new AbortController();
    const asked = fetch(url + query, { headers, signal: leaving.signal }).catch(() => undefined);
    await until(() => database.reads > 5, 'the history to be read');
    leaving.abort();
    await asked;
    await until(() => {
      const before = database.reads;
      return new Promise((resolve) => setTimeout(() => resolve(database.reads === before), 30));
    }, 'nobody to read it any more');
  },
);

test('a history that cannot be read is an error, and no empty answer', async () => {
  const { database, url } = await startFollowed();
  for (const word of words) database.append(runOf(word));
  database.fault = new Error('no database');
  for (const query of ['?offset=-1', '?offset=-1&live=long-poll', '?offset=-1&live=sse', ''])
    expect((await fetch(url + query)).status, query).toBe(500);
});

test('where a history is, is known to a session that reads from now on, or from behind it', async () => {
  const { database, url } = await startFollowed();
  for (const word of words.slice(0, 5)) database.append(runOf(word));
  const client = openClient({ url: new URL(url).origin });
  onTestFinished(() => client.close());
  const late = client.read(url, { from: 99 });
  await expect(within(late.next(), 'the refusal')).rejects.toMatchObject({ code: 'invalid_request' });
  const now = client.read(url, { from: 'now' });
  const first = now.next();
  await until(() => database.reads > 3, 'the history to be read');
  database.append(runOf('more'));
  const { value } = await within(first, 'what comes');
  expect(value?.type === 'chunk' && textIn(Buffer.from(value.bytes).toString())).toBe('more');
});
