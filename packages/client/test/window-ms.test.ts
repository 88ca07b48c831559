import type { EventRun } from '@spillway/core/format/sse';
import { describe, expect, test, vi } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { startSessionServer } from '../../server/test/support/session-server.ts';
import { open, rejection } from './support/clients.ts';
import { type FakeGatewayOptions, startFakeGateway } from './support/fake-gateway.ts';

/** 20 ms of telephone audio. */
const frameMs = 20;
const frameBytes = 160;
/** Three times what 800 ms of them cost: each frame counts 256 bytes more. */
const windowBytes = 50_000;
const durationMs = ({ byteLength }: EventRun): number => byteLength / (frameBytes / frameMs);

function audio(index: number): EventRun {
  const bytes = Buffer.alloc(frameBytes);
  bytes.writeUInt32BE(index);
  return { bytes, byteLength: frameBytes, events: 1 };
}

describe('5.20 a window in milliseconds', () => {
  test('a player has no more than its window to play, and all of it in the end', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    // Four seconds, made at once.
    for (let index = 0; index < 200; index += 1) expect(channel.offer(audio(index))).toBe('accepted');
    channel.complete();
    const reader = open({ url: server.url, windowBytes }).read(stream.url, {
      overflow: 'block',
      windowMs: 800,
    });
    let played = 0;
    let most = 0;
    for await (const item of reader) {
      if (item.type === 'gap') throw new Error('Nothing should be left out.');
      expect(Buffer.from(item.bytes).readUInt32BE()).toBe(played);
      // What was received, and is not known to be played.
      most = Math.max(most, (reader.offset - played) * frameMs);
      played += 1;
      // It is slower than what comes.
      await new Promise(setImmediate);
      reader.ack(item.to);
    }
    expect(played).toBe(200);
    expect(most).toBeLessThanOrEqual(800);
    expect(server.defects.count).toBe(0);
  });

  test('a player that stops has its window, and nothing more comes', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    for (let index = 0; index < 200; index += 1) channel.offer(audio(index));
    const reader = open({ url: server.url, windowBytes }).read(stream.url, {
      overflow: 'block',
      windowMs: 800,
    });
    await within(reader.next(), 'a chunk');
    const told = new Promise<void>((resolve) =>
      reader.onEvent((event) => {
        if (event.type === 'lag' && event.lag.items > 0) resolve();
      }),
    );
    // Said behind all that came.
    await within(told, 'what waits');
    expect(reader.offset).toBe(800 / frameMs);
    expect(reader.lag.items).toBe(200);
  });

  test('a stream whose chunks take no time comes as without', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open();
    for (let index = 0; index < 60; index += 1) channel.offer(audio(index));
    channel.complete();
    const reader = open({ url: server.url, windowBytes }).read(stream.url, { windowMs: 1 });
    let count = 0;
    for await (const item of reader) count += item.type === 'chunk' ? 1 : 0;
    expect(count).toBe(60);
  });
});

describe('a gateway and a client of different age', () => {
  const older = JSON.stringify({ type: 'open', maxStreams: 100, maxMessageBytes: 1_048_576, session: 's' });
  const newer = JSON.stringify({ ...(JSON.parse(older) as object), ms: true });

  test.each<[string, FakeGatewayOptions, number | undefined]>([
    ['an older gateway is not sent what it does not know', { greeting: older }, undefined],
    ['a gateway that says that it knows it is', { greeting: newer }, 800],
  ])('5.20 %s', async (_what, options, sent) => {
    const gateway = await startFakeGateway(options);
    const client = open({ url: gateway.url });
    const request = client.request('/v1/audio', { body: '{}', windowMs: 800 });
    const session = await gateway.session();
    expect((await session.frame('request')).windowMs).toBe(sent);
    const reader = client.read('/streams/a', { windowMs: 800, overflow: 'block' });
    expect((await session.frame('read')).windowMs).toBe(sent);
    for (const stream of [1, 2]) {
      session.respond(stream);
      session.data(stream, 0, 1, 'a');
      session.end(stream);
    }
    for (const one of [request, reader]) {
      const items = [];
      for await (const item of one) items.push(Buffer.from((item as { bytes: Uint8Array }).bytes).toString());
      expect(items).toEqual(['a']);
    }
  });

  test('and nobody who asks for none sends one', async () => {
    const gateway = await startFakeGateway({ greeting: newer });
    open({ url: gateway.url })
      .request('/v1/audio', { body: '{}' })
      .response.catch(() => undefined);
    const session = await gateway.session();
    expect(Object.keys(await session.frame('request'))).not.toContain('windowMs');
  });

  test('a client that knows no such windows reads on from a gateway that does', async () => {
    // What it is told beside what it knows, it leaves alone: here in the name of a field that is still to come.
    const gateway = await startFakeGateway({
      greeting: JSON.stringify({ ...(JSON.parse(newer) as object), furlongs: true }),
    });
    const request = open({ url: gateway.url }).request('/v1/audio', { body: '{}' });
    const session = await gateway.session();
    await session.frame('request');
    session.respond(1);
    session.end(1);
    expect((await within(request.response, 'a response')).status).toBe(200);
  });
});

test('5.20 what was played is acknowledged within a quarter of the window', async () => {
  const gateway = await startFakeGateway({
    greeting: JSON.stringify({
      type: 'open',
      maxStreams: 9,
      maxMessageBytes: 1_048_576,
      session: 's',
      ms: true,
    }),
  });
  const client = open({ url: gateway.url });
  const text = client.request('/v1/chat', { body: '{}' });
  const voice = client.request('/v1/audio', { body: '{}', windowMs: 200 });
  const session = await gateway.session();
  for (const stream of [1, 2]) {
    await session.frame('request');
    session.respond(stream);
    session.data(stream, 0, 1, 'a');
    session.data(stream, 1, 2, 'b');
  }
  for (const reader of [text, voice]) await within(reader.next(), 'a chunk');
  await session.settle();
  const timers = vi.spyOn(globalThis, 'setTimeout');
  try {
    text.ack(1);
    expect(timers.mock.calls.map(([, ms]) => ms)).toEqual([200]);
    // It does not wait for the timer of the other.
    voice.ack(1);
    expect(timers.mock.calls.map(([, ms]) => ms)).toEqual([200, 50]);
  } finally {
    timers.mockRestore();
  }
  expect(await session.frame('ack')).toMatchObject({ offset: 1 });
});

test.each([0, -1, 1.5, 2 ** 32, NaN])('%d is no window in milliseconds', async (windowMs) => {
  const client = open({ url: 'http://127.0.0.1:9' });
  const asked = async (): Promise<unknown> => client.request('/v1/audio', { windowMs });
  expect(await rejection(asked())).toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('windowMs: expected a whole number') as string,
  });
});
