import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '@spillway/core/clock';
import { Playout, telephoneAudio } from '@spillway/core/audio';
import { until } from '../../../core/test/support/until.ts';
import { type CarrierEvent, type CarrierLeg, isTwilioSignature, streamTwiml } from '../../src/index.ts';
import { type CallRecord, figuresOf, placeCall } from '../../src/simulate/carrier/index.ts';
import { ended, openCarrierServer, openLegs } from '../support/carrier-server.ts';
import { quickClock } from '../support/quick-clock.ts';
import { tone } from '../support/tone.ts';

interface Bridge {
  readonly url: string;
  readonly events: CarrierEvent[];
  readonly heard: () => Uint8Array;
  readonly leg: () => CarrierLeg;
}

/** A bridge's end of a call, with the leg of this package. */
async function openBridge(
  onLeg: (leg: CarrierLeg) => void = () => undefined,
  clock = systemClock,
): Promise<Bridge> {
  const events: CarrierEvent[] = [];
  let opened: CarrierLeg | undefined;
  const url = await openLegs((leg) => {
    opened = leg;
    leg.listen((event) => events.push(event));
    onLeg(leg);
  }, clock);
  return {
    url,
    events,
    heard: () => Buffer.concat(events.flatMap((event) => (event.kind === 'audio' ? [event.audio] : []))),
    leg: () => opened ?? failed(),
  };
}

function failed(): never {
  throw new Error('There is no leg.');
}

function playedBytes({ played }: CallRecord): Buffer {
  return Buffer.concat(played.map(({ audio }) => audio));
}

describe("a carrier's double", () => {
  test('says who calls, and what the human says, every 20 ms', async () => {
    const clock = quickClock(10);
    const { events, heard, url } = await openBridge(undefined, clock);
    const call = await placeCall(url, { clock, audio: tone(1010), parameters: { token: 'abc' } });
    expect(await call.whenSaid()).toBe(true);
    call.press('#');
    await call.wait(100);
    call.hangUp();
    const record = await ended(call);
    const audio = events.filter((event) => event.kind === 'audio');
    expect(audio.map(({ timestampMs }) => timestampMs)).toEqual(audio.map((_, index) => index * 20));
    expect(Buffer.compare(heard().subarray(0, 8080), tone(1010))).toBe(0);
    expect(new Set(heard().subarray(8080))).toEqual(new Set([0xff]));
    expect(events).toContainEqual({ kind: 'digit', digit: '#' });
    expect(events.at(-1)).toEqual({ kind: 'ended', why: 'hangup', detail: '' });
    expect(record.said).toEqual([{ atMs: 0, ms: 1010 }]);
    expect(record.end).toMatchObject({ why: 'hung_up', code: 1000 });
    // As many frames as the call has lasted, whatever the timers did.
    expect(Math.abs(audio.length - record.end.atMs / 20)).toBeLessThanOrEqual(1.01);
  });

  test('plays in real time, and gives marks back when what is before them was played', async () => {
    const clock = quickClock(5);
    const { events, url } = await openBridge((leg) => {
      leg.mark('at once');
      leg.send(tone(400));
      leg.mark('after 400');
      leg.send(tone(200));
      leg.mark('after 600');
    }, clock);
    const call = await placeCall(url, { clock });
    await until(
      () => events.some((event) => event.kind === 'mark' && event.name === 'after 600'),
      'all marks',
    );
    expect(events.filter(({ kind }) => kind === 'mark')).toHaveLength(3);
    call.hangUp();
    const { marks, maxBufferedMs, played } = await ended(call);
    const [atOnce, after400, after600] = marks;
    expect(atOnce?.returnedMs).toBe(atOnce?.arrivedMs);
    const [first, second] = played;
    expect(second?.atMs).toBe((first?.atMs ?? 0) + 400);
    expect(after400?.returnedMs).toBeGreaterThanOrEqual((first?.atMs ?? 0) + 400);
    expect(after600?.returnedMs).toBeGreaterThanOrEqual((first?.atMs ?? 0) + 600);
    // A timer's lateness on a busy machine, at five times the speed.
    expect(after600?.returnedMs).toBeLessThan((first?.atMs ?? 0) + 1600);
    expect(marks.every(({ wasCleared }) => !wasCleared)).toBe(true);
    expect(maxBufferedMs).toBeGreaterThanOrEqual(400);
    expect(maxBufferedMs).toBeLessThanOrEqual(600);
  });

  test('drops what waits when it is told to clear, gives all marks back, and says what was heard', async () => {
    const { events, leg, url } = await openBridge((opened) => {
      opened.send(tone(2000));
      opened.mark('m1');
      opened.send(tone(2000));
      opened.mark('m2');
    });
    const call = await placeCall(url);
    expect(await call.whenHeard(300, 10_000)).toBe(true);
    leg().clear();
    await until(() => events.filter(({ kind }) => kind === 'mark').length === 2, 'both marks');
    leg().send(tone(100));
    leg().mark('m3');
    await until(() => events.filter(({ kind }) => kind === 'mark').length === 3, 'the third mark');
    call.hangUp();
    const record = await ended(call);
    const { clears, marks, played } = record;
    expect(marks.map(({ name, wasCleared }) => [name, wasCleared])).toEqual([
      ['m1', true],
      ['m2', true],
      ['m3', false],
    ]);
    const heardMs = played[0]?.ms ?? 0;
    expect(heardMs).toBeGreaterThanOrEqual(300);
    expect(played).toHaveLength(2);
    expect((clears[0]?.droppedMs ?? 0) + heardMs).toBeCloseTo(4000, 5);
    expect((played[0]?.atMs ?? 0) + heardMs).toBeCloseTo(clears[0]?.atMs ?? 0, 5);
    expect(playedBytes(record).byteLength).toBe(Math.round(heardMs * 8) + 800);
  });

  test('interrupts an answer when it has heard so much of it, and knows when it was quiet', async () => {
    let speechFrames = 0;
    const { events, leg, url } = await openBridge((opened) => opened.send(tone(4000)));
    const call = await placeCall(url);
    expect(await call.whenHeard(500, 5000)).toBe(true);
    expect(call.heardMs).toBeGreaterThanOrEqual(500);
    const fromFrame = events.length;
    call.say(tone(400));
    await until(() => {
      speechFrames = events
        .slice(fromFrame)
        .filter((event) => event.kind === 'audio' && event.audio[4] !== 0xff).length;
      return speechFrames >= 5;
    }, 'the bridge has heard it');
    leg().clear();
    expect(await call.whenQuiet(300, 5000)).toBe(true);
    call.hangUp();
    const record = await ended(call);
    const { firstHeardMs, heardMs, interruptions } = figuresOf(record);
    expect(firstHeardMs).toBeLessThan(500);
    expect(interruptions).toHaveLength(1);
    const quietAfterMs = interruptions[0]?.quietAfterMs ?? 0;
    expect(quietAfterMs).toBeGreaterThanOrEqual(80);
    expect(quietAfterMs).toBeLessThan(600);
    expect((record.said[0]?.atMs ?? 0) + quietAfterMs).toBeCloseTo(record.clears[0]?.atMs ?? 0, 5);
    expect(heardMs).toBeCloseTo((record.clears[0]?.atMs ?? 0) - (firstHeardMs ?? 0), 5);
  });

  test('counts the silences in an answer, and no pause between answers', async () => {
    const clock = quickClock(5);
    const { url } = await openBridge((leg) => {
      leg.send(tone(100));
      clock.after(300, () => leg.send(tone(100)));
      clock.after(2500, () => leg.send(tone(100)));
    }, clock);
    const call = await placeCall(url, { clock });
    expect(await call.whenHeard(300, 10_000)).toBe(true);
    call.hangUp();
    const record = await ended(call);
    expect(record.played).toHaveLength(3);
    const { gaps, heardMs } = figuresOf(record);
    expect(heardMs).toBeCloseTo(300, 5);
    expect(gaps).toHaveLength(1);
    expect(gaps[0]?.ms).toBeGreaterThan(50);
  });

  test('fed by a playout it buffers no more than its window', async () => {
    const clock = quickClock(4);
    let playout: Playout | undefined;
    const url = await openLegs((leg) => {
      playout = new Playout(leg, { format: telephoneAudio, clock, windowMs: 800 });
      leg.listen((event) => event.kind === 'mark' && playout?.returned(event.name));
      const part = { itemId: 'item-1', contentIndex: 0 };
      playout.write(part, tone(4000));
      playout.end(part);
    }, clock);
    const call = await placeCall(url, { clock });
    expect(await call.whenHeard(4000, 30_000)).toBe(true);
    await until(() => playout?.isIdle === true, 'all is confirmed');
    call.hangUp();
    const record = await ended(call);
    expect(record.maxBufferedMs).toBeLessThanOrEqual(800.001);
    expect(record.maxBufferedMs).toBeGreaterThan(600);
    expect(Buffer.compare(playedBytes(record), tone(4000))).toBe(0);
  });

  test('reaches the socket by a webhook, with its signature on both', async () => {
    const authToken = 'secret-token';
    const { leg, url } = await openBridge();
    const asked: { readonly form: Record<string, string>; readonly isSigned: boolean }[] = [];
    const webhook = createServer((request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => {
        const form = Object.fromEntries(new URLSearchParams(body));
        const signature = request.headers['x-twilio-signature'] as string | undefined;
        const from = `http://${request.headers.host}${request.url}`;
        asked.push({ form, isSigned: isTwilioSignature({ authToken, signature, url: from, form }) });
        response.setHeader('content-type', 'text/xml');
        if (request.url === '/refused') response.writeHead(403).end();
        else if (request.url === '/other')
          response.end('<Response><Say language="en">Come &amp; call again.</Say></Response>');
        else if (request.url === '/gone') response.writeHead(410).end('No number.\r\nNever.');
        else response.end(streamTwiml({ url, parameters: { 'a&b': `"<'>` } }));
      });
    });
    webhook.listen(0, '127.0.0.1');
    await once(webhook, 'listening');
    onTestFinished(() => void webhook.close());
    const base = `http://127.0.0.1:${(webhook.address() as AddressInfo).port}`;
    const call = await placeCall(`${base}/voice?x=1`, { authToken });
    await call.wait(200);
    call.hangUp();
    const { callId } = await ended(call);
    expect(leg().call).toMatchObject({ callId, parameters: { 'a&b': `"<'>` } });
    expect(asked).toEqual([
      { form: expect.objectContaining({ CallSid: callId, From: '+15550100' }), isSigned: true },
    ]);
    await expect(placeCall(`${base}/refused`)).rejects.toMatchObject({ code: 'call_refused' });
    await expect(placeCall(`${base}/refused`)).rejects.toThrow('it answers 403');
    await expect(placeCall(`${base}/other`)).rejects.toThrow(
      'expected TwiML with <Connect><Stream url="…">, got none: Come & call again.',
    );
    await expect(placeCall(`${base}/gone`)).rejects.toThrow(/: it answers 410: No number\.$/u);
  });
});

describe("a carrier's double is as strict as a carrier", () => {
  const audio = { payload: Buffer.from(tone(20)).toString('base64') };
  test.each([
    [
      'a binary message',
      (id: string) => Buffer.from(JSON.stringify({ event: 'clear', streamSid: id })),
      31_950,
      'got a binary message',
    ],
    ['no JSON', () => 'clear', 31_951, 'expected JSON'],
    ['no object', () => '"clear"', 31_951, 'the name of an event'],
    [
      'an event of nobody',
      (id: string) => ({ event: 'stop', streamSid: id }),
      31_951,
      'expected the event media, mark or clear',
    ],
    ['audio without its stream', () => ({ event: 'media', media: audio }), 31_951, 'media: streamSid'],
    [
      'audio of another stream',
      () => ({ event: 'media', streamSid: 'MZ1', media: audio }),
      31_951,
      'media: expected the streamSid of this call',
    ],
    [
      'audio that is no base64',
      (id: string) => ({ event: 'media', streamSid: id, media: { payload: 'a-b_' } }),
      31_951,
      'media: media.payload',
    ],
    [
      'no audio',
      (id: string) => ({ event: 'media', streamSid: id, media: { payload: '' } }),
      31_951,
      'media: media.payload',
    ],
    ['a mark without a name', (id: string) => ({ event: 'mark', streamSid: id }), 31_951, 'mark: mark'],
    [
      'a mark with an empty name',
      (id: string) => ({ event: 'mark', streamSid: id, mark: { name: '' } }),
      31_951,
      'mark: mark.name',
    ],
    ['clear without its stream', () => ({ event: 'clear' }), 31_951, 'clear: streamSid'],
    [
      'more than ten minutes of audio',
      (id: string) => ({
        event: 'media',
        streamSid: id,
        media: { payload: Buffer.alloc(4_800_008).toString('base64') },
      }),
      31_931,
      'More than ten minutes',
    ],
  ] as const)('and refuses %s', async (_, message, code, detail) => {
    const server = await openCarrierServer();
    const call = await placeCall(server.url);
    await until(() => server.sockets.length === 1, 'the socket');
    const made = message(call.streamId);
    const [socket] = server.sockets;
    socket?.send(Buffer.isBuffer(made) || typeof made === 'string' ? made : JSON.stringify(made));
    const { end, played, refusals } = await ended(call);
    expect(refusals).toEqual([{ atMs: expect.any(Number), code, message: expect.stringContaining(detail) }]);
    expect(end).toMatchObject({ why: 'refused', code: 1000 });
    expect(played).toEqual([]);
  });

  test('and keeps ten minutes', async () => {
    const server = await openCarrierServer();
    const call = await placeCall(server.url);
    await until(() => server.sockets.length === 1, 'the socket');
    const payload = Buffer.alloc(4_800_000, 0x90).toString('base64');
    server.sockets[0]?.send(JSON.stringify({ event: 'media', streamSid: call.streamId, media: { payload } }));
    await until(() => call.bufferedMs > 0, 'it has come');
    call.hangUp();
    const { maxBufferedMs, refusals } = await ended(call);
    expect(maxBufferedMs).toBeCloseTo(600_000, 5);
    expect(refusals).toEqual([]);
  });

  test('and drops what the caller says when the bridge does not read', async () => {
    const clock = quickClock(2000);
    const server = await openCarrierServer((socket) => socket.pause());
    // Megabytes are in the kernel's buffers before anything waits here: hours of audio.
    const call = await placeCall(server.url, { clock, maxDurationMs: 3_600_000 });
    const { lostFrames, refusals } = await ended(call);
    expect(refusals).toEqual([
      { atMs: expect.any(Number), code: 31_930, message: expect.stringContaining('too slowly') },
    ]);
    expect(lostFrames).toBeGreaterThan(0);
  });
});

describe('a bad link of a double', () => {
  test('loses frames by its seed: no message is missing, but the time stamps jump', async () => {
    const run = async (seed: number): Promise<readonly number[]> => {
      const clock = quickClock(20);
      const { events, url } = await openBridge(undefined, clock);
      const call = await placeCall(url, { clock, link: { seed, lossRate: 0.1 } });
      await call.wait(4000);
      call.hangUp();
      const { lostFrames } = await ended(call);
      expect(lostFrames).toBeGreaterThan(0);
      return events.flatMap((event) =>
        event.kind === 'audio' && event.timestampMs < 4000 ? [event.timestampMs] : [],
      );
    };
    const [first, second, other] = await Promise.all([run(7), run(7), run(8)]);
    expect(first?.length).toBeGreaterThan(160);
    expect(first?.length).toBeLessThan(199);
    expect(second).toEqual(first);
    expect(other).not.toEqual(first);
  });

  test('stalls, and keeps the order', async () => {
    const clock = quickClock(4);
    const times: number[] = [];
    const url = await openLegs((leg) => {
      leg.listen((event) => {
        if (event.kind === 'audio') times.push(event.timestampMs);
      });
    }, clock);
    const call = await placeCall(url, {
      clock,
      link: { delayMs: 100, stallRate: 0.02, stallMs: 500, seed: 3 },
    });
    await call.wait(6000);
    call.hangUp();
    await ended(call);
    expect(times).toEqual(times.map((_, index) => index * 20));
    // How late they are is for a clock without luck: link.test.ts.
  });

  test('delays both directions', async () => {
    const { events, url } = await openBridge((leg) => leg.mark('m1'));
    const call = await placeCall(url, { link: { delayMs: 150 } });
    await until(() => events.some(({ kind }) => kind === 'mark'), 'the mark is back');
    expect(call.nowMs).toBeGreaterThan(450);
    call.hangUp();
    expect((await ended(call)).end).toMatchObject({ why: 'hung_up', code: 1000 });
    expect(events.at(-1)).toMatchObject({ kind: 'ended', why: 'hangup' });
  });
});

describe('the end of a simulated call', () => {
  test('by the other side, in order or not, is told with its code', async () => {
    const { leg, url } = await openBridge();
    const call = await placeCall(url);
    await call.wait(100);
    const waiting = call.whenHeard(1000, 60_000);
    leg().close(1001, 'model_failed');
    expect((await ended(call)).end).toMatchObject({ why: 'closed', code: 1001, reason: 'model_failed' });
    expect(await waiting).toBe(false);
    expect(await call.whenSaid()).toBe(false);
    const cut = await placeCall(url);
    await until(() => leg().call.streamId === cut.streamId, 'the second call');
    const server = await openCarrierServer((socket) => socket.terminate());
    const lost = await placeCall(server.url);
    expect((await ended(lost)).end).toMatchObject({ why: 'closed', code: 1006 });
    cut.hangUp();
    await ended(cut);
  });

  test('comes after its time, and although nobody answers the close', async () => {
    const server = await openCarrierServer((socket) => socket.pause());
    const call = await placeCall(server.url, { maxDurationMs: 100 });
    const { end } = await ended(call);
    expect(end.why).toBe('hung_up');
    expect(end.atMs).toBeGreaterThanOrEqual(100);
    expect(end.code).toBe(1006);
  });

  test('is the beginning of none, where nobody takes the call', async () => {
    await expect(placeCall('ws://127.0.0.1:1/')).rejects.toMatchObject({ code: 'call_refused' });
    await expect(placeCall('tel:+15550100')).rejects.toMatchObject({ code: 'invalid_option' });
    await expect(placeCall('ws://127.0.0.1:1/', { maxDurationMs: 1 })).rejects.toMatchObject({
      code: 'invalid_option',
    });
    const silent = createServer();
    silent.on('upgrade', () => undefined);
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const { port } = silent.address() as AddressInfo;
    await expect(placeCall(`ws://127.0.0.1:${port}/`, { connectTimeoutMs: 100 })).rejects.toThrow(
      'timed out',
    );
  });
});
