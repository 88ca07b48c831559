import { describe, expect, test } from 'vitest';
import { telephoneAudio } from '@spillway/core/audio';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { openCall } from '../../src/index.ts';
import { type OpenedCall, openedCall as open, part, quiet, say, speech } from '../support/opened-call.ts';
import { ScriptedCarrier, ScriptedModel } from '../support/scripted-legs.ts';

describe('promise 22: an interruption', () => {
  test('stops the ear first, then the model, and then says what was heard, although the model had long finished', async () => {
    const opened = open();
    const { carrier, clock, events, log, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 4000);
    await clock.advance(1600);
    const truthMs = carrier.ear.played.length / 8;
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['clear', expect.stringMatching(/^truncate item-1\/0 \d+$/u)]);
    const toldMs = Number(log[1]?.split(' ')[2]);
    expect(Math.abs(toldMs - truthMs)).toBeLessThanOrEqual(160);
    expect(toldMs).toBeLessThanOrEqual(4000);
    await clock.advance(5000);
    expect(carrier.ear.played.length / 8 - truthMs).toBeLessThanOrEqual(51);
    expect(events.find(({ kind }) => kind === 'interrupted')).toMatchObject({
      unheard: [{ itemId: 'item-1' }],
    });
  });

  test('cancels a model that is at work, and drops what still comes of its answer', async () => {
    const opened = open();
    const { carrier, clock, log, model } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(3000) });
    await clock.advance(1000);
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log.map((line) => line.split(' ')[0])).toEqual(['clear', 'cancel', 'truncate']);
    await clock.advance(200);
    const heard = carrier.ear.played.length;
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(3000) });
    model.say({
      kind: 'audio',
      responseId: 'r-1',
      part: { itemId: 'item-2', contentIndex: 0 },
      audio: speech(3000),
    });
    model.say({ kind: 'responseEnded', responseId: 'r-1', state: 'cancelled', usage: undefined });
    await clock.advance(2000);
    expect(carrier.ear.played.length).toBe(heard);
    // The next answer is heard.
    await say(opened, 400, 'r-2', { itemId: 'item-3', contentIndex: 0 });
    await clock.advance(2000);
    expect(carrier.ear.played.length).toBe(heard + 3200);
  });

  test('removes what nobody heard, because a cut to nothing is refused', async () => {
    const opened = open();
    const { clock, log, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 3000);
    await say(opened, 1000, 'r-2', { itemId: 'item-2', contentIndex: 0 });
    await clock.advance(100);
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['clear', expect.stringMatching(/^truncate item-1\/0 /u), 'remove item-2']);
  });

  test('tells the model never more than it has made', async () => {
    const { clock, log, model } = open();
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    // Not a whole frame: the ear gets its silence with it.
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(173) });
    await clock.advance(1000);
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['clear', 'cancel', 'truncate item-1/0 160']);
  });

  test('of silence stops what was asked for and has not begun, and nothing else', async () => {
    const opened = open();
    const { clock, events, log, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 400);
    await clock.advance(2000);
    log.length = 0;
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['cancel']);
    expect(events.some(({ kind }) => kind === 'interrupted')).toBe(false);
  });
});

describe('the caller’s audio', () => {
  test('that comes before the model is ready is kept, the newest of it, and what is lost is told', async () => {
    const { call, carrier, clock, events, model } = open({ maxEarlyMs: 1000 });
    for (let ms = 0; ms < 2000; ms += 20)
      carrier.tell({ kind: 'audio', timestampMs: ms, audio: ms % 400 < 200 ? quiet(20) : speech(20) });
    expect(call.figures).toMatchObject({ inWaitingMs: 1000, lostMs: 1000 });
    model.say({ kind: 'ready' });
    await clock.advance(1);
    // All silence went first.
    expect(model.heard.filter((byte) => byte === 0x90).length).toBe(8000);
    expect(events.filter(({ kind }) => kind === 'gap')).toHaveLength(50);
    expect(events.find(({ kind }) => kind === 'ready')).toEqual({ kind: 'ready', waitedMs: 1000 });
  });

  test('waits for a socket that takes nothing, for 400 ms and not more, and goes on when it does', () => {
    const { call, carrier, model } = open();
    model.say({ kind: 'ready' });
    model.bufferedMs = 1000;
    for (let ms = 0; ms < 3000; ms += 20) {
      carrier.tell({ kind: 'audio', timestampMs: ms, audio: speech(20) });
      expect(call.figures.inWaitingMs).toBeLessThanOrEqual(400);
    }
    expect(model.heard).toEqual([]);
    expect(call.figures.lostMs).toBe(2600);
    model.bufferedMs = 0;
    model.say({ kind: 'drained' });
    expect(model.heard.length).toBe(400 * 8);
  });

  test('keeps its clock: what the carrier lost is silence of that length', () => {
    const { carrier, events, model } = open();
    model.say({ kind: 'ready' });
    carrier.tell({ kind: 'audio', timestampMs: 5, audio: speech(20) });
    carrier.tell({ kind: 'audio', timestampMs: 125, audio: speech(20) });
    expect(model.heard.length).toBe(140 * 8);
    expect(events).toContainEqual({ kind: 'missing', atMs: 25, ms: 100 });
  });
});

describe('an answer', () => {
  test('that is longer than may wait is cut, the model stops, and the call lives', async () => {
    const opened = open({ maxAnswerMs: 5000 });
    const { call, carrier, clock, events, log, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 20_000);
    const kept = events.find((event) => event.kind === 'cut')?.keptMs ?? 0;
    expect(kept).toBeGreaterThan(4000);
    expect(log).toContain('cancel');
    expect(log.indexOf('cancel')).toBe(log.indexOf(`truncate item-1/0 ${Math.floor(kept)}`) - 1);
    await clock.advance(20_000);
    expect(Math.abs(carrier.ear.played.length / 8 - kept)).toBeLessThanOrEqual(20);
    expect(carrier.closed).toBeUndefined();
    expect(call.figures.outWaitingMs).toBe(0);
  });

  test('begins with the greeting, when the model is ready', () => {
    const { log, model } = open({ greeting: 'Say hello.' });
    expect(log).toEqual([]);
    model.say({ kind: 'ready' });
    model.say({ kind: 'ready' });
    expect(log).toEqual(['respond Say hello.']);
  });
});

describe('a call ends', () => {
  const ends: readonly [
    string,
    (opened: OpenedCall) => Promise<void> | void,
    { code: number; reason: string },
  ][] = [
    [
      'when the human hangs up',
      ({ carrier }) => carrier.tell({ kind: 'ended', why: 'hangup', detail: '' }),
      { code: 1000, reason: 'hangup' },
    ],
    [
      'when the carrier is gone',
      ({ carrier }) => carrier.tell({ kind: 'ended', why: 'lost', detail: '' }),
      { code: 1000, reason: 'carrier_lost' },
    ],
    [
      'when the model is gone',
      ({ model }) => model.say({ kind: 'ended', code: 'cut', message: 'x' }),
      { code: 1001, reason: 'model_failed' },
    ],
    [
      'when the model is not ready in time',
      ({ clock }) => clock.advance(10_001),
      { code: 1001, reason: 'model_failed' },
    ],
    [
      'when it has lasted too long',
      async ({ clock, model }) => {
        model.say({ kind: 'ready' });
        await clock.advance(3_600_001);
      },
      { code: 1000, reason: 'max_duration' },
    ],
    [
      'when the ear confirms nothing',
      async (opened) => {
        opened.carrier.ear.isStalled = true;
        opened.model.say({ kind: 'ready' });
        await say(opened, 2000);
        await opened.clock.advance(10_001);
      },
      { code: 1000, reason: 'ear_stalled' },
    ],
    ['when it is closed', ({ call }) => call.close(), { code: 1000, reason: 'closed' }],
  ];
  test.each(ends)('%s: both ends are closed, once, and nothing follows', async (_, end, closed) => {
    const opened = open();
    const { call, carrier, clock, events, log, model } = opened;
    await end(opened);
    expect(carrier.closed).toEqual(closed);
    await expect(call.ended).resolves.toBe(closed.reason);
    expect(model.isClosed).toBe(true);
    const before = [events.length, log.length];
    model.say({ kind: 'audio', responseId: 'r-9', part, audio: speech(400) });
    carrier.tell({ kind: 'audio', timestampMs: 0, audio: speech(20) });
    call.interrupt();
    call.close();
    await clock.advance(60_000);
    expect([events.length, log.length]).toEqual(before);
    expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: closed.reason });
  });

  test('not because a model pauses in the middle of a part', async () => {
    const { carrier, clock, model } = open();
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(100) });
    await clock.advance(19_000);
    expect(carrier.closed).toBeUndefined();
  });
});

test('legs whose formats differ are refused', () => {
  const clock = new VirtualClock();
  const model = Object.assign(new ScriptedModel([]), { output: { encoding: 'pcm16', sampleRateHz: 24_000 } });
  expect(() => openCall({ carrier: new ScriptedCarrier(clock, []), model, clock })).toThrow(
    'model.output: expected the carrier’s format'.replace('’', "'"),
  );
  expect(telephoneAudio.sampleRateHz).toBe(8000);
});
