import { openClient } from '../../client/src/index.ts';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { expect, onTestFinished, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { openStreams, startStream, textIn } from './support/own-streams.ts';
import { serveStreams } from './support/own-server.ts';

const words = ['Once ', 'upon ', 'a ', 'time'];

test('a stream of one’s own is read by its URL: what is there, and what comes', async () => {
  const { defects, streams } = openStreams();
  const url = await serveStreams(streams);
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  say(words[0] ?? '');
  const first = await fetch(url + stream.url);
  expect(textIn(await first.text())).toBe(words[0]);
  expect(first.headers.get('stream-state')).toBe('open');
  const live = await fetch(url + stream.url, { headers: { accept: 'text/event-stream' } });
  for (const word of words.slice(1)) say(word);
  end();
  expect(textIn(await within(live.text(), 'the end of the events'))).toBe(words.join(''));
  const offset = first.headers.get('stream-next-offset') ?? '';
  const rest = await fetch(`${url}${stream.url}?offset=${offset}`);
  expect(textIn(await rest.text())).toBe(words.slice(1).join(''));
  const head = await fetch(url + stream.url, { method: 'HEAD' });
  expect([head.status, head.headers.get('stream-state')]).toEqual([200, 'completed']);
  expect((await fetch(`${url}/streams/unknown`)).status).toBe(404);
  expect(defects).toEqual([]);
});

test('by a session: what is there and what comes, also for who asks and has no provider', async () => {
  const { defects, streams } = openStreams();
  const written = startStream(streams, { detach: 'finish' });
  const url = await serveStreams(streams, {
    read: () => ({
      errors: openaiChat,
      queryKey: undefined,
      open: (body) => {
        expect(JSON.parse(body)).toEqual({ topic: 'tales' });
        // Its reader is attached in this turn.
        setImmediate(() => {
          for (const word of words) written.say(word);
          written.end();
        });
        return written.stream;
      },
    }),
  });
  const client = openClient({ url });
  onTestFinished(() => client.close());
  const asked = client.request('/tales', { body: '{"topic":"tales"}' });
  const other = client.read(written.stream.url);
  const texts = await within(
    Promise.all(
      [asked, other].map(async (reader) => {
        let events = '';
        for await (const item of reader) {
          if (item.type === 'chunk') {
            events += Buffer.from(item.bytes).toString();
            reader.ack(item.to);
          }
        }
        return textIn(events);
      }),
    ),
    'both to have read to the end',
  );
  expect(texts).toEqual([words.join(''), words.join('')]);
  expect(defects).toEqual([]);
});

test('where nobody answers requests, streams are still read, and a request is told so', async () => {
  const { streams } = openStreams();
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  say('Hello');
  end();
  const client = openClient({ url: await serveStreams(streams) });
  onTestFinished(() => client.close());
  const answer = await client.fetch('http://any/v1/chat/completions', {
    method: 'POST',
    body: '{"stream":true}',
  });
  expect(answer.status).toBe(404);
  expect(await answer.text()).toContain('Nobody answers requests here');
  let events = '';
  const reader = client.read(stream.url);
  for await (const item of reader) if (item.type === 'chunk') events += Buffer.from(item.bytes).toString();
  expect(textIn(events)).toBe('Hello');
});

test('a stream that is deleted stops its source', async () => {
  const { streams } = openStreams();
  const { say, stream } = startStream(streams);
  const url = await serveStreams(streams);
  say('Hello');
  expect((await fetch(url + stream.url, { method: 'DELETE' })).status).toBe(204);
  expect(stream.signal.aborted).toBe(true);
  expect((await fetch(url + stream.url)).status).toBe(410);
});
