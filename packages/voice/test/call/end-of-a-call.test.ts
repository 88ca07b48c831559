import { describe, expect, test } from 'vitest';
import type { Call, CallEvent, CallOptions } from '../../src/index.ts';
import { type OpenedCall, openedCall, part, say, speech } from '../support/opened-call.ts';
import { ScriptedModel } from '../support/scripted-legs.ts';

/** A call that is closed by whoever hears of an event of a kind. */
function openClosing(kind: CallEvent['kind'], options: Partial<CallOptions> = {}): OpenedCall {
  const events: CallEvent[] = [];
  let call: Call | undefined;
  const opened = openedCall({
    ...options,
    onEvent: (event) => {
      events.push(event);
      if (event.kind === kind) call?.close();
    },
  });
  ({ call } = opened);
  return { ...opened, events };
}

describe('a call that is closed by whoever hears of', () => {
  const scenes: readonly [CallEvent['kind'], (opened: OpenedCall) => unknown][] = [
    ['ready', ({ model }) => model.say({ kind: 'ready' })],
    [
      'responseEnded',
      ({ model }) => {
        model.say({ kind: 'ready' });
        model.say({ kind: 'responseStarted', responseId: 'r-1' });
        model.say({ kind: 'responseEnded', responseId: 'r-1', state: 'failed', usage: undefined });
      },
    ],
    [
      'toolCalled',
      ({ model }) => {
        model.say({ kind: 'ready' });
        model.say({ kind: 'toolCalled', responseId: 'r-1', callId: 'one', name: 'a', input: '{}' });
      },
    ],
    [
      'interrupted',
      async (opened) => {
        opened.model.say({ kind: 'ready' });
        await say(opened, 2000);
        opened.model.say({ kind: 'speechStarted', atMs: 0 });
      },
    ],
    [
      // Of two parts, whose ends were never told.
      'said',
      (opened) => {
        opened.model.say({ kind: 'ready' });
        for (const itemId of ['item-1', 'item-2'])
          opened.model.say({
            kind: 'said',
            responseId: 'r-1',
            part: { itemId, contentIndex: 0 },
            text: 'x',
            isWhole: false,
          });
        opened.call.close();
      },
    ],
    [
      'reopening',
      ({ model }) => {
        model.say({ kind: 'ready' });
        model.say({ kind: 'ended', code: 'lost', message: '' });
      },
    ],
  ];
  test.each(scenes)(
    '%s has ended: nothing follows, nothing is asked, nothing is left',
    async (kind, play) => {
      let runs = 0;
      const sessions: ScriptedModel[] = [];
      const opened = openClosing(kind, {
        greeting: 'Say hello.',
        tools: [
          {
            name: 'a',
            description: 'a',
            parameters: { type: 'object' },
            run: () => Promise.resolve(String((runs += 1))),
          },
        ],
        reopenModel: () => {
          const next = new ScriptedModel([]);
          sessions.push(next);
          return next;
        },
      });
      const { call, clock, events, log } = opened;
      await play(opened);
      await expect(call.ended).resolves.toBe('closed');
      const before = log.length;
      await clock.advance(120_000);
      expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'closed' });
      expect(events.filter(({ kind: each }) => each === 'ended')).toHaveLength(1);
      expect(log.length).toBe(before);
      expect([sessions.length, runs]).toEqual([0, 0]);
    },
  );

  test('another session, which is then closed', async () => {
    const sessions: ScriptedModel[] = [];
    const opened = openedCall({
      reopenModel: () => {
        opened.call.close();
        const next = new ScriptedModel([]);
        sessions.push(next);
        return next;
      },
    });
    opened.model.say({ kind: 'ready' });
    opened.model.say({ kind: 'ended', code: 'lost', message: '' });
    await expect(opened.call.ended).resolves.toBe('closed');
    expect(sessions.map(({ isClosed }) => isClosed)).toEqual([true]);
  });
});

describe('a call that has ended', () => {
  test('has nothing waiting any more', async () => {
    const opened = openedCall();
    const { call, carrier, clock, model } = opened;
    carrier.tell({ kind: 'audio', timestampMs: 0, audio: speech(200) });
    model.say({ kind: 'ready' });
    await say(opened, 4000);
    await clock.advance(500);
    call.close();
    expect(call.figures).toMatchObject({
      inWaitingMs: 0,
      inUnconfirmedMs: 0,
      outWaitingMs: 0,
      outUnconfirmedMs: 0,
      marksOut: 0,
    });
  });

  test('knows what was heard of the answer in which it ended', async () => {
    const opened = openedCall();
    const { call, clock, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 4000);
    model.say({ kind: 'said', responseId: 'r-1', part, text: 'One two three four', isWhole: true });
    await clock.advance(1600);
    call.close();
    expect(call.conversation).toEqual([{ role: 'model', text: 'One two' }]);
  });

  test('has the words of an answer that were told one by one, and never as all', async () => {
    const opened = openedCall();
    const { call, clock, events, model } = opened;
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(400) });
    for (const text of ['One ', 'two'])
      model.say({ kind: 'said', responseId: 'r-1', part, text, isWhole: false });
    await clock.advance(2000);
    call.close();
    expect(events.filter((event) => event.kind === 'said')).toMatchObject([{ text: 'One two' }]);
    expect(call.conversation).toEqual([{ role: 'model', text: 'One two' }]);
  });
});

describe('a farewell', () => {
  test('is said when the answer leaves no room for it', async () => {
    const opened = openedCall({ maxAnswerMs: 3000, farewell: new Uint8Array(8 * 2000).fill(0x55) });
    const { call, carrier, clock, events, model } = opened;
    model.say({ kind: 'ready' });
    await say(opened, 3000);
    model.say({ kind: 'ended', code: 'lost', message: '' });
    await clock.advance(10_000);
    await expect(call.ended).resolves.toBe('model_failed');
    expect(carrier.ear.played.filter((byte) => byte === 0x55)).toHaveLength(8 * 2000);
    expect(events.some(({ kind }) => kind === 'cut')).toBe(false);
  });
});

describe('audio of an answer that was dropped before any of it came', () => {
  test('is not heard, and its item is removed, once', async () => {
    const { call, carrier, clock, log, model } = openedCall();
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    model.say({ kind: 'speechStarted', atMs: 0 });
    log.length = 0;
    for (let count = 0; count < 3; count += 1)
      model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech(200) });
    model.say({ kind: 'said', responseId: 'r-1', part, text: 'We are open.', isWhole: true });
    await clock.advance(2000);
    expect(carrier.ear.played).toHaveLength(0);
    expect(log).toEqual(['remove item-1']);
    expect(call.conversation).toEqual([]);
  });

  test('without a sample is no sign that an answer is heard', async () => {
    const { clock, events, model } = openedCall({ answerTimeoutMs: 5000 });
    model.say({ kind: 'ready' });
    model.say({ kind: 'speechStopped', atMs: 0 });
    for (let ms = 0; ms < 6000; ms += 1000) {
      model.say({ kind: 'audio', responseId: 'r-1', part, audio: new Uint8Array(0) });
      await clock.advance(1000);
    }
    expect(events.some(({ kind }) => kind === 'answered')).toBe(false);
    expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'model_failed' });
  });
});

test('a response whose id comes again can be stopped again', async () => {
  const opened = openedCall();
  const { clock, log, model } = opened;
  model.say({ kind: 'ready' });
  await say(opened, 400);
  await clock.advance(2000);
  const next = { itemId: 'item-2', contentIndex: 0 };
  model.say({ kind: 'responseStarted', responseId: 'r-1' });
  model.say({ kind: 'audio', responseId: 'r-1', part: next, audio: speech(3000) });
  await clock.advance(500);
  log.length = 0;
  model.say({ kind: 'speechStarted', atMs: 0 });
  expect(log.map((line) => line.split(' ')[0])).toEqual(['clear', 'cancel', 'truncate']);
});

describe('options', () => {
  test.each<[Partial<CallOptions>, RegExp]>([
    [{ maxLateMs: 0 }, /^maxLateMs: expected 20 to 60,000 milliseconds, got 0\.$/u],
    [{ maxEarlyMs: Number.NaN }, /^maxEarlyMs: /u],
    [{ maxAnswerMs: 0 }, /^maxAnswerMs: expected 1,000 to 3,600,000/u],
    [{ maxDurationMs: Infinity }, /^maxDurationMs: expected 1,000 to 2,147,483,647/u],
    [{ readyTimeoutMs: -1 }, /^readyTimeoutMs: /u],
    [{ stallTimeoutMs: Number.NaN }, /^stallTimeoutMs: /u],
    [{ windowMs: 100 }, /^windowMs: expected 200 to 5,000/u],
    [{ onShortNoise: 'nonsense' as 'drop' }, /^onShortNoise: expected drop or resume, got "nonsense"/u],
    [{ maxAnswerMs: 1000, farewell: speech(1001) }, /^farewell: expected at most maxAnswerMs/u],
  ])('%j are refused, by their own names', (options, message) => {
    expect(() => openedCall(options)).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.stringMatching(message) }),
    );
  });
});
