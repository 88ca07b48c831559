import { createGate, type Gate, type Reader } from '@spillway/core';
import { expect, onTestFinished, test } from 'vitest';
import { openClient } from '../../client/src/index.ts';
import { eventually } from '../../gateway/test/support/spawn.ts';
import { within } from '../../core/test/support/within.ts';
import { GatewayError } from '../src/errors.ts';
import { LimitError } from '../src/limit/limit-error.ts';
import { RunMemory } from '../src/memory/run-memory.ts';
import { openRunChannel } from '../src/stream/run-channel.ts';
import type { Tap } from '../src/stream/tap.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { nobody } from './support/nobody.ts';
import { openStreams, startStream, textIn } from './support/own-streams.ts';
import { serveStreams } from './support/own-server.ts';

/** A tap that keeps what the test lets it keep. */
class Keeper implements Tap {
  readonly name = 'keeper';
  readonly #head = Promise.withResolvers<void>();
  readonly #left = Promise.withResolvers<Error | undefined>();
  readonly chunks: Gate = createGate();
  #reader: Reader<unknown> | undefined;

  open(): ReturnType<Tap['open']> {
    return {
      gate: { head: this.#head.promise, chunks: this.chunks },
      read: async (reader) => {
        this.#reader = reader;
        const error = await this.#left.promise;
        if (error !== undefined) throw error;
      },
    };
  }

  keepHead(): void {
    this.#head.resolve();
  }

  failHead(error: Error): void {
    this.#head.reject(error);
  }

  /** Keeps all that came; with `end`, the end too. */
  keep(end = false): void {
    this.#reader?.takeAll();
    this.chunks.open(end ? Infinity : (this.#reader?.offset ?? 0));
  }

  leave(error?: Error): void {
    this.#left.resolve(error);
  }
}

test('promise 12: readers get the head, each chunk and the end when the tap has them', async () => {
  const keeper = new Keeper();
  const { defects, streams } = openStreams([keeper]);
  const url = await serveStreams(streams);
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  say('one ');
  let isAnswered = false;
  const asked = fetch(url + stream.url, { headers: { accept: 'text/event-stream' } });
  void asked.then(() => (isAnswered = true));
  const client = openClient({ url });
  onTestFinished(() => client.close());
  const session = client.read(stream.url);
  let inSession = '';
  const read = (async () => {
    for await (const item of session) {
      if (item.type !== 'chunk') continue;
      inSession += Buffer.from(item.bytes).toString();
      session.ack(item.to);
    }
  })();
  await eventually(() => stream.audience.readers.size === 1, 'the session’s reader');
  keeper.keep();
  // Who could answer has had time for it.
  for (let trip = 0; trip < 20; trip += 1) await (await fetch(`${url}/streams/unknown`)).text();
  expect([isAnswered, inSession]).toEqual([false, '']);

  keeper.keepHead();
  let byUrl = '';
  const live = await within(asked, 'the head');
  const reading = (async () => {
    for await (const part of live.body ?? []) byUrl += Buffer.from(part).toString();
  })();
  const both = (): string[] => [textIn(byUrl), textIn(inSession)];
  await eventually(() => both().every((text) => text === 'one '), 'the first chunk');

  say('two ');
  end();
  // What is there for whoever looks is what the tap has; so is what comes next, and the end.
  const headers = async (): Promise<unknown> => {
    const head = await fetch(url + stream.url, { method: 'HEAD' });
    return [head.headers.get('stream-state'), Number(head.headers.get('stream-next-offset'))];
  };
  expect(await headers()).toEqual(['open', 1]);
  expect(textIn(await (await fetch(url + stream.url)).text())).toBe('one ');
  expect(both()).toEqual(['one ', 'one ']);

  keeper.keep();
  await eventually(() => both().every((text) => text === 'one two '), 'the second chunk');
  expect(await headers()).toEqual(['open', 2]);
  keeper.keep(true);
  await within(Promise.all([reading, read]), 'the end');
  expect(await headers()).toEqual(['completed', 2]);
  keeper.leave();
  expect(textIn(byUrl)).toBe('one two ');
  expect(defects).toEqual([]);
});

test('promise 18: an answer that was cut before the tap has its head is whole behind the gate', async () => {
  const keeper = new Keeper();
  const { defects, streams } = openStreams([keeper]);
  const url = await serveStreams(streams);
  const { channel, say, stream } = startStream(streams, { detach: 'finish' });
  say('one ');
  const asked = fetch(url + stream.url, { headers: { accept: 'text/event-stream' } });
  const reached = { scope: 'answer', name: 'answerTokens', value: 1, used: 1, resetMs: undefined } as const;
  const error = new LimitError(reached, 'The answer has its 1 token (answerTokens).');
  stream.cut(error);
  const closing = stream.limits?.cut?.closing() ?? new Uint8Array();
  channel.offer({ bytes: closing, byteLength: closing.length, events: 2 });
  channel.cut(error);
  streams.ended(stream, { state: 'cancelled', error });
  keeper.keepHead();
  keeper.keep(true);
  const text = await (await within(asked, 'the head')).text();
  expect(textIn(text)).toBe('one ');
  expect(text).toContain('"finish_reason":"length"');
  expect(text).toContain('"spillway":{"reason":"limit"');
  expect(text).toContain('data: [DONE]');
  keeper.leave();
  expect(defects).toEqual([]);
});

test('promise 12: a tap that cannot go on fails the stream closed: no reader gets more than it has', async () => {
  const keeper = new Keeper();
  const { defects, streams } = openStreams([keeper]);
  const url = await serveStreams(streams);
  const { say, stream } = startStream(streams, { detach: 'finish' });
  keeper.keepHead();
  say('one ');
  keeper.keep();
  const live = await within(
    fetch(url + stream.url, { headers: { accept: 'text/event-stream' } }),
    'the head',
  );
  say('two ');
  const waiting = fetch(`${url}${stream.url}?offset=${'1'.padStart(16, '0')}&live=long-poll`);
  keeper.leave(new Error('the disk is full'));
  const text = await within(live.text(), 'the end of the answer');
  expect(textIn(text)).toBe('one ');
  expect(text).toContain('tap_unavailable');
  expect(stream.signal.reason).toMatchObject({ code: 'tap_unavailable', status: 503 });
  expect(
    await within(
      waiting.then((answer) => answer.text()),
      'the poll',
    ),
  ).not.toContain('two');
  const later = await fetch(url + stream.url, { headers: { accept: 'text/event-stream' } });
  expect(await later.text()).not.toContain('two');
  expect(defects).toEqual(['tap keeper']);
});

test('so does one that fails when the model is done, and one that has not the head', async () => {
  const done = new Keeper();
  const first = openStreams([done]);
  const url = await serveStreams(first.streams);
  const written = startStream(first.streams, { detach: 'finish' });
  done.keepHead();
  written.say('secret ');
  written.end();
  const live = await fetch(url + written.stream.url, { headers: { accept: 'text/event-stream' } });
  done.leave();
  const text = await within(live.text(), 'the end of the answer');
  expect(text).toContain('tap_unavailable');
  expect(text).not.toContain('secret');

  const headless = new Keeper();
  const second = openStreams([headless]);
  const otherUrl = await serveStreams(second.streams);
  const other = startStream(second.streams, { detach: 'finish' });
  other.say('one ');
  const asked = fetch(otherUrl + other.stream.url, { headers: { accept: 'text/event-stream' } });
  headless.failHead(new Error('no disk'));
  headless.leave();
  const answer = await within(asked, 'the answer');
  expect(answer.status).not.toBe(200);
  expect(other.stream.signal.aborted).toBe(true);
});

test('a reader behind a closed gate is not ended as one that stalls, and its model waits for the tap', async () => {
  const keeper = new Keeper();
  const { streams } = openStreams([keeper], { stallTimeoutMs: 100 });
  const url = await serveStreams(streams);
  const { say, stream } = startStream(streams, { detach: 'finish' });
  keeper.keepHead();
  const live = await fetch(url + stream.url, { headers: { accept: 'text/event-stream' } });
  say('one ');
  const [reader] = stream.audience.readers;
  const startMs = performance.now();
  for (let step = 0; step < 50; step += 1) reader?.checkProgress(startMs + step * 100, undefined);
  expect(reader?.waitsFor).toBe('tap');
  expect(stream.audience.readers.size).toBe(1);
  keeper.keep(true);
  void live.body?.cancel();
});

/** A provider's error, which clients get as it came. */
class Refused extends GatewayError {
  override get isAnswer(): boolean {
    return true;
  }
}

test('promise 12: a refusal waits for the tap as a body does', async () => {
  const keeper = new Keeper();
  const { defects, streams } = openStreams([keeper]);
  const stream = streams.open(nobody);
  stream.asked();
  stream.isAnswered = true;
  const channel = openRunChannel(1024, new RunMemory(), undefined, nodeClock);
  const plain = { format: undefined, isEvents: false, reason: '', headers: {} };
  stream.refused({ ...plain, log: channel, status: 429, maxWaitingBytes: 1024 });
  channel.offer({ bytes: Buffer.from('{}'), byteLength: 2, events: 0 });
  channel.complete();
  let told = '';
  stream.started.catch((error: unknown) => (told = String(error)));
  streams.ended(stream, { state: 'failed', error: new Refused('upstream_invalid', 'refused') });
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  keeper.keepHead();
  await turn();
  expect(told).toBe('');
  keeper.keep();
  await turn();
  expect(told).toBe('');
  keeper.keep(true);
  await turn();
  expect(told).toContain('refused');
  keeper.leave();
  await eventually(() => stream.isDelivered, 'the end of the tap');
  expect(defects).toEqual([]);
});

test('so does one that fails: a tap that cannot keep a refusal lets nobody have it', async () => {
  const keeper = new Keeper();
  const { streams } = openStreams([keeper]);
  const stream = streams.open(nobody);
  stream.asked();
  stream.isAnswered = true;
  const channel = openRunChannel(1024, new RunMemory(), undefined, nodeClock);
  const plain = { format: undefined, isEvents: false, reason: '', headers: {} };
  stream.refused({ ...plain, log: channel, status: 429, maxWaitingBytes: 1024 });
  channel.complete();
  streams.ended(stream, { state: 'failed', error: new Refused('upstream_invalid', 'refused') });
  keeper.keepHead();
  keeper.leave();
  await expect(stream.started).rejects.toMatchObject({ code: 'tap_unavailable' });
});
