import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { EventRun } from '@spillway/core/format/sse';
import {
  type ClientFrame,
  type DataFrame,
  decodeData,
  type GatewayFrame,
  subprotocol,
} from '@spillway/core/session';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { checkProperty } from '../../core/test/support/property.ts';
import { within } from '../../core/test/support/within.ts';
import { GatewayError } from '../src/errors.ts';
import { type SessionServer, startSessionServer } from './support/session-server.ts';

/** A chunk that takes so long to play; it says so itself. */
function audio(ms: number, length = 64): EventRun {
  const bytes = Buffer.alloc(Math.max(8, length));
  bytes.writeDoubleBE(ms);
  return { bytes, byteLength: bytes.length, events: 1 };
}

const durationMs = ({ bytes }: Pick<EventRun, 'bytes'>): number => Buffer.from(bytes).readDoubleBE();

/** A client that does nothing by itself. */
class RawClient {
  readonly socket: WebSocket;
  readonly data: DataFrame[] = [];
  readonly frames: GatewayFrame[] = [];
  readonly closed: Promise<number>;
  #changed = Promise.withResolvers<void>();

  constructor(url: string) {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/streams`, subprotocol);
    this.socket.binaryType = 'arraybuffer';
    this.socket.on('message', (message, isBinary) => {
      if (isBinary) {
        const frame = decodeData(message as ArrayBuffer);
        if (frame !== undefined) this.data.push(frame);
      } else {
        this.frames.push(JSON.parse(Buffer.from(message as ArrayBuffer).toString()) as GatewayFrame);
      }
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    });
    this.closed = new Promise((resolve) => this.socket.on('close', resolve));
    onTestFinished(() => this.socket.terminate());
  }

  send(frame: ClientFrame | Record<string, unknown>): void {
    this.socket.send(JSON.stringify(frame));
  }

  async until(holds: () => boolean, what: string): Promise<void> {
    while (!holds()) await within(this.#changed.promise, what);
  }

  /**
   * Until all that was sent is handled, and what follows from it is here. The first pong may come before that, in the same turn of
   * the server; the second one comes in a later turn.
   */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 2; turn += 1) {
      const pongs = this.pongs + 1;
      this.send({ type: 'ping' });
      await this.until(() => this.pongs >= pongs, 'a pong');
    }
  }

  get pongs(): number {
    return this.frames.filter(({ type }) => type === 'pong').length;
  }

  get offsets(): number[] {
    return this.data.map(({ to }) => to);
  }
}

async function openRaw(server: SessionServer): Promise<RawClient> {
  const client = new RawClient(server.url);
  await within(once(client.socket, 'open'), 'a session');
  client.send({ type: 'open', windowBytes: 1_048_576 });
  return client;
}

function read(url: string, fields: Record<string, unknown> = {}): Record<string, unknown> {
  const reader = randomBytes(18).toString('base64url');
  const window = { windowBytes: 1_048_576 };
  return {
    type: 'read',
    stream: 1,
    reader,
    ...window,
    url,
    headers: {},
    from: 'start',
    overflow: 'block',
    ...fields,
  };
}

describe('5.20 a window in milliseconds', () => {
  test('is announced', async () => {
    const server = await startSessionServer();
    const client = await openRaw(server);
    await client.until(() => client.frames.length > 0, 'the greeting');
    expect(client.frames[0]).toMatchObject({ type: 'open', ms: true });
  });

  test('bounds what is sent and not acknowledged, beside the one in bytes', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs: 100 }));
    for (let index = 0; index < 12; index += 1) channel.offer(audio(20));
    await client.until(() => client.offsets.length >= 5, 'a window');
    await client.settle();
    expect(client.offsets).toEqual([1, 2, 3, 4, 5]);
    expect(client.frames.findLast(({ type }) => type === 'lag')).toMatchObject({ items: 7 });
    client.send({ type: 'ack', stream: 1, offset: 2 });
    await client.settle();
    expect(client.offsets).toEqual([1, 2, 3, 4, 5, 6, 7]);
    channel.complete();
    client.send({ type: 'ack', stream: 1, offset: 7 });
    await client.until(() => client.offsets.length >= 12, 'the rest');
    await client.until(() => client.frames.some(({ type }) => type === 'end'), 'the end');
  });

  test('a chunk that is longer than all of it comes when it is free, and costs all of it', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs: 100 }));
    for (const ms of [40, 250, 40, 60]) channel.offer(audio(ms));
    await client.until(() => client.offsets.length >= 1, 'a chunk');
    await client.settle();
    expect(client.offsets).toEqual([1]);
    client.send({ type: 'ack', stream: 1, offset: 1 });
    await client.settle();
    expect(client.offsets).toEqual([1, 2]);
    client.send({ type: 'ack', stream: 1, offset: 2 });
    await client.settle();
    expect(client.offsets).toEqual([1, 2, 3, 4]);
  });

  test('chunks that take no time are not bound by it', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs: 20 }));
    for (const ms of [20, 0, 0, 0, 20, 0]) channel.offer(audio(ms));
    await client.until(() => client.offsets.length >= 4, 'what may come');
    await client.settle();
    expect(client.offsets).toEqual([1, 2, 3, 4]);
  });

  test('nor is a stream whose chunks take no time', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open();
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs: 1 }));
    for (let index = 0; index < 50; index += 1) channel.offer(audio(20));
    await client.until(() => client.offsets.length >= 50, 'all');
  });

  test('a reader that wants merged what cannot be merged makes the source wait', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs, maxMs: 60 });
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs: 40, overflow: 'coalesce' }));
    await client.until(() => client.frames.some(({ type }) => type === 'response'), 'the head');
    const answers: string[] = [];
    for (let index = 0; index < 7; index += 1) {
      answers.push(channel.offer(audio(20)));
      await client.settle();
    }
    // Two are sent, three wait.
    expect(answers).toEqual(['accepted', 'accepted', 'accepted', 'accepted', 'accepted', 'full', 'full']);
    expect(client.offsets).toEqual([1, 2]);
  });

  test('nor a reader that asks for none, as older clients do', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    const client = await openRaw(server);
    client.send(read(stream.url));
    for (let index = 0; index < 50; index += 1) channel.offer(audio(20));
    await client.until(() => client.offsets.length >= 50, 'all');
    client.send({ type: 'ack', stream: 1, offset: 50 });
    await client.settle();
    expect(server.defects.count).toBe(0);
  });

  test('what was not acknowledged still costs when its reader comes back', async () => {
    const server = await startSessionServer();
    const { channel, stream } = server.open({ durationMs });
    const first = await openRaw(server);
    const opening = read(stream.url, { windowMs: 100 });
    first.send(opening);
    for (let index = 0; index < 12; index += 1) channel.offer(audio(20));
    await first.until(() => first.offsets.length >= 5, 'a window');
    first.socket.terminate();
    const second = await openRaw(server);
    second.send({ type: 'resume', stream: 1, reader: opening['reader'], headers: {}, offset: 3, acked: 2 });
    await second.until(() => second.offsets.length >= 4, 'what was lost, and what was granted');
    await second.settle();
    expect(second.offsets).toEqual([4, 5, 6, 7]);
  });

  test.each([0, -1, 1.5, 2 ** 32, '800', null, []])('%o is no such window: 4400', async (windowMs) => {
    const server = await startSessionServer();
    const { stream } = server.open({ durationMs });
    const client = await openRaw(server);
    client.send(read(stream.url, { windowMs }));
    expect(await within(client.closed, 'the close')).toBe(4400);
  });
});

test('promise 10, 5.20: whatever is sent and acknowledged, no more than the window is on its way', async () => {
  const server = await startSessionServer();
  // Halves and thirds: what is rounded, too.
  const duration = fc.oneof(
    fc.constant(0),
    fc.integer({ min: 1, max: 400 }),
    fc.integer({ min: 1, max: 90 }).map((ms) => ms / 3),
  );
  await checkProperty(
    'session: window in milliseconds',
    fc.asyncProperty(
      fc.array(duration, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }),
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 10 }),
      fc.option(fc.constantFrom('beyond', 'again', 'between'), { nil: undefined }),
      async (durations, windowMs, steps, badAck) => {
        const { channel, stream } = server.open({ durationMs });
        const client = await openRaw(server);
        client.send(read(stream.url, { windowMs }));
        for (const ms of durations) expect(channel.offer(audio(ms))).toBe('accepted');
        channel.complete();
        let acked = 0;
        for (let turn = 0; acked < durations.length; turn += 1) {
          await client.until(() => client.offsets.length > acked, 'a chunk');
          await client.settle();
          const sent = client.offsets.length;
          const onItsWay = durations.slice(acked, sent);
          const sumMs = onItsWay.reduce((sum, ms) => sum + ms, 0);
          // One that is longer goes alone, but for those that take no time.
          const timed = onItsWay.filter((ms) => ms > 0);
          if (timed.length > 1) expect(sumMs).toBeLessThanOrEqual(windowMs + Math.min(0.5, windowMs * 1e-6));
          // And no less than it, but for how sums are rounded: what comes next has no room, or is not there.
          const next = durations[sent];
          if (next !== undefined) expect(sumMs + next).toBeGreaterThan(windowMs - 1e-6);
          if (badAck !== undefined && turn === 1) {
            const offset = { beyond: sent + 1, again: acked, between: sent + 0.5 }[badAck];
            client.send({ type: 'ack', stream: 1, offset });
            const expected = badAck === 'between' ? 4400 : 4401;
            expect(await within(client.closed, 'the close')).toBe(expected);
            break;
          }
          acked = Math.min(sent, acked + (steps[turn % steps.length] ?? 1));
          client.send({ type: 'ack', stream: 1, offset: acked });
        }
        if (acked === durations.length) {
          await client.until(() => client.frames.some(({ type }) => type === 'end'), 'the end');
          expect(client.data.map(({ bytes }) => durationMs({ bytes }))).toEqual(durations);
        }
        client.socket.close();
        await within(client.closed, 'the close');
        stream.cancel(new GatewayError('cancelled', 'The stream was cancelled.'));
        // Nothing of its readers is left but what may come back.
        if (badAck !== undefined && acked < durations.length) {
          await new Promise(setImmediate);
          expect(stream.audience.readers.size).toBe(0);
        }
        expect(server.defects.count).toBe(0);
      },
    ),
    60,
  );
});
