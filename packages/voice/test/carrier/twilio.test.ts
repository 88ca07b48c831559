import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import type { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { acceptTwilio, type CarrierEvent, type CarrierLeg } from '../../src/index.ts';
import { closed, openCarrierServer } from '../support/carrier-server.ts';
import { tone } from '../support/tone.ts';
import { connected, media, start, stop, streamSid } from '../support/twilio-messages.ts';

function send(peer: WebSocket, ...messages: readonly (object | string)[]): void {
  for (const message of messages) peer.send(typeof message === 'string' ? message : JSON.stringify(message));
}

interface Opened {
  readonly clock: VirtualClock;
  readonly events: CarrierEvent[];
  readonly leg: CarrierLeg;
  readonly peer: WebSocket;
  readonly socket: WebSocket;
}

/** A leg after its start message, which nobody listens to. */
async function held(clock = new VirtualClock()): Promise<Opened> {
  const { peer, socket } = await (await openCarrierServer()).pair();
  const accepted = acceptTwilio(socket, { clock });
  send(peer, connected, start);
  return { clock, events: [], leg: await accepted, peer, socket };
}

async function listening(clock?: VirtualClock): Promise<Opened> {
  const opened = await held(clock);
  opened.leg.listen((event) => opened.events.push(event));
  return opened;
}

/** What is registered with a socket by somebody else than `ws`. */
function listenersOf(socket: WebSocket): number {
  return ['message', 'close', 'error', 'ping', 'pong'].reduce(
    (sum, name) => sum + socket.listenerCount(name),
    0,
  );
}

describe('a leg of Twilio', () => {
  test('says which call it is, and what the webhook gave to it', async () => {
    const { leg } = await held();
    expect(leg.call).toEqual({
      carrier: 'twilio',
      callId: start.start.callSid,
      streamId: streamSid,
      parameters: { token: 'abc' },
    });
    expect(leg.format).toEqual({ encoding: 'mulaw', sampleRateHz: 8000 });
  });

  test('keeps what comes until somebody listens, in the socket', async () => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTwilio(socket);
    // One read of the socket has the start message and what is behind it: that cannot be paused any more.
    const tcp = (peer as unknown as { readonly _socket: Socket })._socket;
    tcp.cork();
    send(peer, connected, start, media(0));
    tcp.uncork();
    const leg = await accepted;
    const events: CarrierEvent[] = [];
    for (let chunk = 1; chunk <= 400; chunk += 1) send(peer, media(chunk));
    await until(() => socket.isPaused, 'the socket is paused');
    leg.listen((event) => events.push(event));
    await until(() => events.length === 401, 'all has come');
    expect(events.map((event) => event.kind === 'audio' && event.timestampMs)).toEqual(
      Array.from({ length: 401 }, (_, index) => index * 20),
    );
    expect(events[7]).toEqual({ kind: 'audio', timestampMs: 140, audio: Buffer.alloc(160, 7) });
  });

  test('tells keys, marks and the end, passes over what is said to the human and what it does not know', async () => {
    const { events, peer, socket } = await listening();
    send(
      peer,
      media(1, 160, 'outbound'),
      { event: 'weather', streamSid },
      { event: 'dtmf', sequenceNumber: '3', streamSid, dtmf: { track: 'inbound_track', digit: '#' } },
      { event: 'dtmf', sequenceNumber: '4', streamSid, dtmf: { track: 'inbound_track', digit: 'flash' } },
      { event: 'mark', sequenceNumber: '5', streamSid, mark: { name: 'm1', later: true }, later: {} },
      stop,
      media(2),
    );
    const { code } = await closed(peer);
    expect(events).toEqual([
      { kind: 'digit', digit: '#' },
      { kind: 'mark', name: 'm1' },
      { kind: 'ended', why: 'hangup', detail: '' },
    ]);
    expect(code).toBe(1000);
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(listenersOf(socket)).toBe(0);
  });

  test('sends audio, marks and clear as documented', async () => {
    const { leg, peer } = await held();
    const got: unknown[] = [];
    peer.on('message', (data, isBinary) =>
      got.push(isBinary ? 'binary' : JSON.parse((data as Buffer).toString())),
    );
    leg.send(tone(20));
    leg.mark('m1');
    leg.clear();
    await until(() => got.length === 3, 'all has come');
    expect(got).toEqual([
      { event: 'media', streamSid, media: { payload: Buffer.from(tone(20)).toString('base64') } },
      { event: 'mark', streamSid, mark: { name: 'm1' } },
      { event: 'clear', streamSid },
    ]);
  });

  test('knows how much audio its socket has not taken', async () => {
    const { leg, peer, socket } = await held();
    expect(leg.bufferedMs).toBe(0);
    peer.pause();
    // The kernel takes the first of them, megabytes on loopback, and then nothing.
    const tcp = (socket as unknown as { readonly _socket: Socket })._socket;
    while (tcp.writableLength < 60_000) {
      leg.send(tone(20));
      if (tcp.writableLength === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const before = leg.bufferedMs;
    for (let count = 0; count < 50; count += 1) leg.send(tone(20));
    expect(leg.bufferedMs - before).toBeGreaterThan(995);
    expect(leg.bufferedMs - before).toBeLessThan(1005);
  });

  test('is lost when its socket takes nothing: a mebibyte waits at most', async () => {
    const { events, leg, peer, socket } = await listening();
    peer.pause();
    let mostBytes = 0;
    await until(() => {
      for (let count = 0; count < 100 && events.length === 0; count += 1) leg.send(tone(100));
      mostBytes = Math.max(mostBytes, socket.bufferedAmount);
      return events.length > 0;
    }, 'it is lost');
    expect(events).toEqual([
      { kind: 'ended', why: 'lost', detail: expect.stringContaining('takes nothing') },
    ]);
    expect(mostBytes).toBeLessThan(1_060_000);
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(listenersOf(socket)).toBe(0);
  });

  test('is lost when its connection is cut, also before somebody listens', async () => {
    const opened = await listening();
    opened.peer.terminate();
    await until(() => opened.events.length > 0, 'it is lost');
    expect(opened.events).toEqual([
      { kind: 'ended', why: 'lost', detail: 'The connection was closed without a stop message.' },
    ]);
    const { events, leg, peer, socket } = await held();
    (peer as unknown as { readonly _socket: Socket })._socket.resetAndDestroy();
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    leg.listen((event) => events.push(event));
    expect(events).toEqual([expect.objectContaining({ kind: 'ended', why: 'lost' })]);
  });

  test('is lost when a peer vanishes: nothing comes, and the close is not answered', async () => {
    const { clock, events, peer, socket } = await listening();
    // Its machine is gone: nothing is read, and nothing is sent.
    (peer as unknown as { readonly _socket: Socket })._socket.pause();
    await clock.advance(29_999);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual([
      { kind: 'ended', why: 'lost', detail: 'The carrier has sent nothing for 30000 ms.' },
    ]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(socket.readyState).toBe(socket.CLOSING);
    await clock.advance(2000);
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(listenersOf(socket)).toBe(0);
  });

  test('is not lost while something comes', async () => {
    const { clock, events, peer } = await listening();
    for (let chunk = 1; chunk <= 5; chunk += 1) {
      await clock.advance(20_000);
      send(peer, media(chunk));
      await until(() => events.length === chunk, 'it has come');
    }
    await clock.advance(29_000);
    expect(events.at(-1)).toMatchObject({ kind: 'audio' });
    await clock.advance(1000);
    expect(events.at(-1)).toMatchObject({ kind: 'ended', why: 'lost' });
  });

  test('tells nothing after it was closed, and is closed twice', async () => {
    const { events, leg, peer, socket } = await listening();
    leg.close(1001, 'the model has ended');
    leg.close(1000, 'again');
    leg.send(tone(20));
    leg.mark('m1');
    leg.clear();
    expect(await closed(peer)).toEqual({ code: 1001, reason: 'the model has ended' });
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(events).toEqual([]);
    expect(listenersOf(socket)).toBe(0);
    // A leg that nobody listens to is closed, too.
    const paused = await held();
    send(paused.peer, media(1));
    paused.leg.close(1000, '');
    expect(await closed(paused.peer)).toEqual({ code: 1000, reason: '' });
    paused.leg.listen((event) => events.push(event));
    expect(events).toEqual([]);
  });
});

describe('a peer that is no Twilio', () => {
  const secret = 'c2VjcmV0IGF1ZGlv!';
  test.each([
    ['a binary message', [Buffer.from('{}')], 1003, 'expected text, got a binary message'],
    ['no JSON', [`{"event": "media ${secret}`], 1007, 'expected JSON, got something else'],
    ['no object', ['[1]'], 1007, 'expected an object with the name of an event'],
    [
      'bad base64',
      [{ ...media(1), media: { track: 'inbound', chunk: '1', timestamp: '0', payload: secret } }],
      1007,
      'media: media.payload: expected base64',
    ],
    [
      'a number as a number',
      [{ ...media(1), media: { track: 'inbound', chunk: 1, timestamp: '0', payload: '' } }],
      1007,
      'media: media.chunk',
    ],
    ['audio of another stream', [{ ...media(1), streamSid: 'MZother' }], 1008, 'got media of another'],
    ['a second start', [start], 1008, 'expected start once'],
    [
      'a hundred and one unknown events',
      Array.from({ length: 101 }, () => ({ event: 'hello' })),
      1008,
      'unknown events',
    ],
    ['a message of more than 64 KiB', [media(1, 60_000)], 1009, 'Max payload size exceeded'],
  ] as const)('that sends %s is closed with a code that says so', async (_, sent, code, detail) => {
    const { events, peer, socket } = await listening();
    for (const message of sent) {
      if (Buffer.isBuffer(message)) peer.send(message);
      else send(peer, message);
    }
    const close = await closed(peer);
    expect(close.code).toBe(code);
    expect(events).toEqual([{ kind: 'ended', why: 'refused', detail: expect.stringContaining(detail) }]);
    expect(JSON.stringify(events) + close.reason).not.toContain('c2VjcmV0');
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(listenersOf(socket)).toBe(0);
  });

  test('a hundred unknown events are taken, between known ones any number', async () => {
    const { events, peer } = await listening();
    for (let chunk = 1; chunk <= 5; chunk += 1)
      send(peer, ...Array.from({ length: 100 }, () => ({ event: 'hello' })), media(chunk));
    await until(() => events.length === 5, 'all has come');
    expect(events.every(({ kind }) => kind === 'audio')).toBe(true);
  });

  test.each([
    [
      'another codec',
      [connected, withFormat({ encoding: 'audio/x-l16', sampleRate: 8000, channels: 1 })],
      1007,
      'mediaFormat.encoding',
    ],
    [
      'another rate',
      [connected, withFormat({ encoding: 'audio/x-mulaw', sampleRate: 16_000, channels: 1 })],
      1007,
      'mediaFormat.sampleRate',
    ],
    [
      'two channels',
      [connected, withFormat({ encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 2 })],
      1007,
      'mediaFormat.channels',
    ],
    ['no connected', [start], 1008, 'expected connected and then start, got start first'],
    [
      'audio before the start',
      [connected, media(1)],
      1008,
      'expected connected and then start, got media first',
    ],
    ['a start without an id', [connected, { ...start, streamSid: undefined }], 1007, 'start: streamSid'],
  ] as const)('with %s is no leg', async (_, sent, code, detail) => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTwilio(socket);
    send(peer, ...sent);
    await expect(accepted).rejects.toMatchObject({ code: 'carrier_refused' });
    await expect(accepted).rejects.toThrow(detail);
    expect((await closed(peer)).code).toBe(code);
    await until(() => socket.readyState === socket.CLOSED, 'the socket is closed');
    expect(listenersOf(socket)).toBe(0);
  });

  test('a thousand that say nothing are all closed, and nothing is left of them', async () => {
    const clock = new VirtualClock();
    const timers = countTimers(clock);
    const ends: string[] = [];
    const server = await openCarrierServer((socket) => {
      acceptTwilio(socket, { clock: timers.clock }).catch(({ message }: Error) => ends.push(message));
    });
    const peers: WebSocket[] = [];
    while (peers.length < 1000)
      peers.push(...(await Promise.all(Array.from({ length: 100 }, async () => (await server.pair()).peer))));
    await clock.advance(4999);
    expect(ends).toEqual([]);
    const allClosed = Promise.all(peers.map(closed));
    await clock.advance(1);
    expect(new Set((await allClosed).map(({ code, reason }) => `${code} ${reason}`))).toEqual(
      new Set(['1008 expected the start message within 5000 ms, got none']),
    );
    await until(
      () => server.sockets.every((socket) => socket.readyState === socket.CLOSED),
      'all are closed',
    );
    expect(ends).toHaveLength(1000);
    expect(server.sockets.reduce((sum, socket) => sum + listenersOf(socket), 0)).toBe(0);
    expect(timers.running()).toBe(0);
  });

  test('that leaves before its start message is lost, and one that has left already', async () => {
    const { peer, socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTwilio(socket);
    send(peer, connected);
    peer.close(1000);
    await expect(accepted).rejects.toMatchObject({ code: 'carrier_lost' });
    await expect(acceptTwilio(socket)).rejects.toMatchObject({ code: 'carrier_lost' });
    expect(listenersOf(socket)).toBe(0);
  });

  test('whose message never ends is lost', async () => {
    const { clock, events, peer } = await listening();
    peer.send('{"event":"', { fin: false });
    for (let second = 0; second < 30; second += 1) {
      peer.send('a', { fin: false });
      await clock.advance(1000);
    }
    expect(events).toEqual([expect.objectContaining({ kind: 'ended', why: 'lost' })]);
  });

  test('and a wrong option are told apart', async () => {
    const { socket } = await (await openCarrierServer()).pair();
    const accepted = acceptTwilio(socket, { startTimeoutMs: 99 });
    await expect(accepted).rejects.toMatchObject({ code: 'invalid_option' });
    expect(listenersOf(socket)).toBe(0);
  });
});

function withFormat(mediaFormat: object): object {
  return { ...start, start: { ...start.start, mediaFormat } };
}

/** Counts the timers that were neither called nor stopped. */
function countTimers(clock: VirtualClock): {
  readonly clock: Pick<VirtualClock, 'after' | 'nowMs'>;
  running(): number;
} {
  let count = 0;
  return {
    running: () => count,
    clock: {
      nowMs: () => clock.nowMs(),
      after(ms, callback) {
        count += 1;
        let isDone = false;
        const done = (): void => {
          if (!isDone) count -= 1;
          isDone = true;
        };
        const timer = clock.after(ms, () => {
          done();
          callback();
        });
        const counted = {
          stop() {
            done();
            timer.stop();
          },
          unref: () => counted,
        };
        return counted;
      },
    },
  };
}
