import { describe, expect, test } from 'vitest';
import type { CallOptions, ModelFailure, Utterance } from '../../src/index.ts';
import { type OpenedCall, openedCall, part, say, speech } from '../support/opened-call.ts';
import { ScriptedModel } from '../support/scripted-legs.ts';

interface Reopened extends OpenedCall {
  readonly sessions: {
    readonly model: ScriptedModel;
    readonly past: readonly Utterance[];
    readonly failure: ModelFailure;
  }[];
}

/** A call that has other sessions, with what each of them was opened with. */
function openReopening(options: Partial<CallOptions> = {}): Reopened {
  const sessions: Reopened['sessions'] = [];
  const opened = openedCall({
    reopenModel: (past, failure) => {
      const model = new ScriptedModel(opened.log);
      sessions.push({ model, past, failure });
      return model;
    },
    ...options,
  });
  return { ...opened, sessions };
}

function kinds({ events }: OpenedCall): string[] {
  return events.map(({ kind }) => kind);
}

const gone = { kind: 'ended', code: 'lost', message: 'It closed the connection with code 1006.' } as const;

describe('a model that fails', () => {
  test('is followed by another session, that knows what was said and heard', async () => {
    const opened = openReopening({ greeting: 'Say hello.' });
    const { clock, log, model, sessions } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 400);
    model.say({ kind: 'said', responseId: 'r-1', part, text: 'Hello, who is there?', isWhole: true });
    model.say({ kind: 'heard', itemId: 'h-1', text: 'It is me.', isWhole: true });
    await clock.advance(2000);
    const second = { itemId: 'item-2', contentIndex: 0 };
    await say(opened, 4000, 'r-2', second);
    model.say({
      kind: 'said',
      responseId: 'r-2',
      part: second,
      text: 'One two three four five six seven eight',
      isWhole: true,
    });
    await clock.advance(1600);
    model.say({ kind: 'speechStarted', atMs: 0 });
    log.length = 0;
    model.say(gone);
    expect(model.isClosed).toBe(true);
    expect(sessions).toHaveLength(1);
    expect(sessions[0]?.failure).toMatchObject({ code: 'lost' });
    expect(sessions[0]?.past.slice(0, 2)).toEqual([
      { role: 'model', text: 'Hello, who is there?' },
      { role: 'caller', text: 'It is me.' },
    ]);
    // 2 of 4 s were heard.
    expect(sessions[0]?.past[2]?.text).toMatch(/^One two three( four)?$/u);
    sessions[0]?.model.say({ kind: 'ready' });
    // Nobody waits for an answer, and the greeting is over.
    expect(log).toEqual([]);
    expect(opened.events.at(-1)).toMatchObject({ kind: 'ready' });
    expect(opened.call.figures.reopened).toBe(1);
  });

  test('in the middle of an answer: what came of it is heard, nobody is told of it, and the next one answers', async () => {
    const opened = openReopening();
    const { carrier, clock, log, model, sessions } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'speechStopped', atMs: 0 });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(2010) });
    await clock.advance(100);
    model.say(gone);
    const next = sessions[0]?.model;
    next?.say({ kind: 'ready' });
    expect(log).toContain('respond ');
    await clock.advance(3000);
    expect(carrier.ear.played.length / 8).toBeGreaterThanOrEqual(2010);
    // What follows of the old session is nobody's.
    const played = carrier.ear.played.length;
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(500) });
    await clock.advance(1000);
    expect(carrier.ear.played.length).toBe(played);
    next?.say({ kind: 'responseStarted', responseId: 'r-9' });
    next?.say({
      kind: 'audio',
      responseId: 'r-9',
      part: { itemId: 'item-9', contentIndex: 0 },
      audio: speech(500),
    });
    await clock.advance(1000);
    expect(carrier.ear.played.length).toBe(played + 4000);
  });

  test('while its answer still plays: a barge-in says nothing of it to the next session', async () => {
    const opened = openReopening();
    const { clock, log, model, sessions } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 4000);
    model.say({ kind: 'said', responseId: 'r-1', part, text: 'One two three four', isWhole: true });
    await clock.advance(900);
    model.say(gone);
    sessions[0]?.model.say({ kind: 'ready' });
    log.length = 0;
    sessions[0]?.model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log).toEqual(['clear']);
    expect(opened.call.conversation.map(({ text }) => text)).toEqual(['One']);
  });

  test('keeps the caller’s audio and keys for the next session', async () => {
    const { carrier, clock, log, model, sessions } = openReopening({ maxLateMs: 100 });
    model.say({ kind: 'ready' });
    carrier.tell({ kind: 'audio', timestampMs: 0, audio: speech(20) });
    model.say(gone);
    for (let ms = 20; ms < 1020; ms += 20)
      carrier.tell({ kind: 'audio', timestampMs: ms, audio: speech(20) });
    carrier.tell({ kind: 'digit', digit: '7' });
    await clock.advance(1000);
    const next = sessions[0]?.model;
    expect(next?.heard).toEqual([]);
    next?.say({ kind: 'ready' });
    expect(next?.heard).toHaveLength(8000);
    expect(log).toContain('tell The caller pressed 7 on the telephone.');
  });

  test('again and again: there are three more tries, later each time, and then the call ends', async () => {
    const opened = openReopening();
    const { call, carrier, clock, model, sessions } = opened;
    model.say({ kind: 'ready' });
    model.say(gone);
    for (const [tries, waitMs] of [
      [1, 1000],
      [2, 2000],
      [3, 0],
    ] as const) {
      expect(sessions).toHaveLength(tries);
      sessions[tries - 1]?.model.say(gone);
      await clock.advance(Math.max(0, waitMs - 1));
      expect(sessions).toHaveLength(tries);
      await clock.advance(1);
    }
    await expect(call.ended).resolves.toBe('model_failed');
    expect(carrier.closed).toMatchObject({ code: 1001 });
    expect(opened.events.filter(({ kind }) => kind === 'reopening')).toMatchObject([
      { inMs: 0 },
      { inMs: 1000 },
      { inMs: 2000 },
    ]);
  });

  test('has its tries again after an answer that ended well', async () => {
    const opened = openReopening();
    const { clock, model, sessions } = opened;
    model.say({ kind: 'ready' });
    let current = model;
    for (let count = 1; count <= 5; count += 1) {
      current.say(gone);
      expect(sessions).toHaveLength(count);
      current = sessions[count - 1]?.model ?? current;
      current.say({ kind: 'ready' });
      await say({ clock, model: current }, 200, `r-${count}`, { itemId: `i-${count}`, contentIndex: 0 });
    }
    expect(kinds(opened)).not.toContain('ended');
  });

  test('is not followed when the opener has none, throws, or has one of another format', async () => {
    for (const reopenModel of [
      () => undefined,
      () => {
        throw new Error('no key');
      },
      () =>
        Object.assign(new ScriptedModel([]), { input: { encoding: 'pcm16', sampleRateHz: 24_000 } as const }),
    ]) {
      const opened = openedCall({ reopenModel });
      opened.model.say({ kind: 'ready' });
      opened.model.say(gone);
      await expect(opened.call.ended).resolves.toBe('model_failed');
      expect(opened.events.at(-1)).toMatchObject({ kind: 'ended', reason: 'model_failed' });
    }
  });

  test('lets the ear hear what waits, and the farewell behind it, before the call ends', async () => {
    const opened = openedCall({ farewell: new Uint8Array(8 * 600).fill(0x55) });
    const { call, carrier, clock, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 2000);
    model.say(gone);
    expect(carrier.closed).toBeUndefined();
    await clock.advance(2000);
    expect(carrier.closed).toBeUndefined();
    await clock.advance(2000);
    await expect(call.ended).resolves.toBe('model_failed');
    expect(carrier.ear.played.length).toBe(8 * 2600);
    expect(carrier.ear.played.slice(-8)).toEqual(Array.from({ length: 8 }, () => 0x55));
  });

  test('does so, too, when a limit ends the call: the model is stopped at once', async () => {
    const opened = openedCall({ farewell: new Uint8Array(8 * 600).fill(0x55) });
    const { call, carrier, clock, events, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 2000);
    call.finish('It has used all.');
    call.finish('Again.');
    expect(model.isClosed).toBe(true);
    expect(carrier.closed).toBeUndefined();
    await clock.advance(4000);
    await expect(call.ended).resolves.toBe('limit');
    expect(carrier.closed).toEqual({ code: 1000, reason: 'limit' });
    expect(carrier.ear.played.length).toBe(8 * 2600);
    expect(events.at(-1)).toEqual({ kind: 'ended', reason: 'limit', detail: 'It has used all.' });
  });

  test('does not keep a call whose ear is gone, too', async () => {
    const opened = openedCall({ farewell: speech(600), stallTimeoutMs: 3000 });
    const { call, carrier, clock, model } = opened;
    model.say({ kind: 'ready' });
    carrier.ear.isStalled = true;
    model.say(gone);
    await clock.advance(3001);
    await expect(call.ended).resolves.toBe('ear_stalled');
  });
});

describe('an answer that does not come', () => {
  test.each([
    ['never begins', () => undefined],
    [
      'begins and says nothing',
      (opened: OpenedCall) => opened.model.say({ kind: 'responseStarted', responseId: 'r-1' }),
    ],
  ])('because it %s: the model has failed, and the next one answers', async (_, begin) => {
    const opened = openReopening({ answerTimeoutMs: 5000 });
    const { clock, log, model, sessions } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'speechStopped', atMs: 0 });
    await clock.advance(1000);
    begin(opened);
    await clock.advance(3999);
    expect(sessions).toHaveLength(0);
    await clock.advance(1002);
    expect(sessions[0]?.failure).toMatchObject({ code: 'late' });
    sessions[0]?.model.say({ kind: 'ready' });
    expect(log).toContain('respond ');
  });

  test('is not missed when it was interrupted, or has ended', async () => {
    const opened = openReopening({ answerTimeoutMs: 5000 });
    const { clock, model, sessions } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'speechStopped', atMs: 0 });
    model.say({ kind: 'speechStarted', atMs: 0 });
    await clock.advance(20_000);
    model.say({ kind: 'speechStopped', atMs: 0 });
    await say(opened, 400);
    await clock.advance(20_000);
    expect(sessions).toHaveLength(0);
  });

  test('because it failed is asked for once more, and then of another session', async () => {
    const opened = openReopening();
    const { clock, log, model, sessions } = opened;
    model.say({ kind: 'ready' });
    for (const responseId of ['r-1', 'r-2']) {
      model.say({ kind: 'responseStarted', responseId });
      model.say({ kind: 'responseEnded', responseId, state: 'failed', usage: undefined });
      expect(log.filter((line) => line === 'respond ')).toHaveLength(responseId === 'r-1' ? 0 : 1);
      await clock.advance(1001);
    }
    expect(sessions[0]?.failure).toMatchObject({ code: 'response_failed' });
    sessions[0]?.model.say({ kind: 'ready' });
    expect(log.filter((line) => line === 'respond ')).toHaveLength(2);
  });

  test('is timed when it does', async () => {
    const opened = openedCall();
    const { clock, events, model } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'speechStopped', atMs: 0 });
    await clock.advance(700);
    await say(opened, 400);
    await clock.advance(1000);
    const answered = events.find((event) => event.kind === 'answered');
    expect(answered).toMatchObject({ thoughtMs: 700 });
    // A mark after 160 ms, and its way back.
    expect(answered?.playedMs).toBeGreaterThanOrEqual(160);
    expect(answered?.playedMs).toBeLessThanOrEqual(320);
  });
});

describe('a call that is too long', () => {
  test('ends with its farewell, and without the rest of an answer', async () => {
    const opened = openedCall({ maxDurationMs: 5000, farewell: speech(600) });
    const { call, carrier, clock, model } = opened;
    model.say({ kind: 'ready' });
    await clock.advance(4000);
    await say(opened, 20_000);
    await clock.advance(1500);
    await expect(call.ended).resolves.toBe('max_duration');
    expect(model.isClosed).toBe(true);
    expect(carrier.ear.played.length / 8).toBeLessThan(2000);
  });
});

describe('audio that piles up in a socket', () => {
  test('of the model waits in the call, is told, and is told as over', async () => {
    const { call, carrier, events, model } = openedCall();
    model.say({ kind: 'ready' });
    model.unconfirmedMs = 1000;
    carrier.tell({ kind: 'audio', timestampMs: 0, audio: speech(20) });
    expect(model.heard).toEqual([]);
    expect(call.figures.inWaitingMs).toBe(20);
    carrier.tell({ kind: 'audio', timestampMs: 20, audio: speech(20) });
    model.unconfirmedMs = 500;
    carrier.tell({ kind: 'audio', timestampMs: 40, audio: speech(20) });
    expect(model.heard).toHaveLength(480);
    model.unconfirmedMs = 400;
    carrier.tell({ kind: 'audio', timestampMs: 60, audio: speech(20) });
    expect(events.filter(({ kind }) => kind === 'pressure')).toEqual([
      { kind: 'pressure', at: 'model', ms: 1000, isOver: false },
      { kind: 'pressure', at: 'model', ms: 400, isOver: true },
    ]);
  });

  test('of the carrier is told', () => {
    const { carrier, events } = openedCall();
    carrier.bufferedMs = 800;
    carrier.tell({ kind: 'audio', timestampMs: 0, audio: speech(20) });
    expect(events).toContainEqual({ kind: 'pressure', at: 'carrier', ms: 800, isOver: false });
  });
});

describe('options', () => {
  test.each([
    [{ farewell: new Uint8Array(0) }, /^farewell: expected audio of whole samples/u],
    [{ filler: new Uint8Array(0) }, /^filler: expected/u],
    [{ answerTimeoutMs: 10 }, /^answerTimeoutMs: expected 1,000 to 600,000/u],
  ])('%j is refused', (options, message) => {
    expect(() => openedCall(options)).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.stringMatching(message) }),
    );
  });
});
