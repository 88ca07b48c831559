import { levelOf, telephoneAudio } from '@spillway/core/audio';
import { describe, expect, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { type CallEvent, openCall } from '../src/index.ts';
import { type CallRecord, figuresOf, type LinkFaults, placeCall } from '../src/simulate/carrier/index.ts';
import { ended, openLegs } from './support/carrier-server.ts';
import { ScriptedModel } from './support/scripted-legs.ts';
import { tone } from './support/tone.ts';

interface Interrupted {
  readonly record: CallRecord;
  /** What the model was told that was heard. */
  readonly toldMs: number;
  readonly events: readonly CallEvent[];
}

/** The model says four seconds in 600 ms, and the human speaks into it after one and a half. */
async function interrupt(link: LinkFaults): Promise<Interrupted> {
  const log: string[] = [];
  const events: CallEvent[] = [];
  const model = new ScriptedModel(log);
  let heardBytes = 0;
  const send = model.send.bind(model);
  const part = { itemId: 'item-1', contentIndex: 0 };
  const url = await openLegs((carrier) => {
    openCall({ carrier, model, onEvent: (event) => events.push(event) });
    // The model hears speech after a tenth of a second of it.
    model.send = (audio) => {
      send(audio);
      if (levelOf(telephoneAudio, audio) > 0.01) heardBytes += audio.byteLength;
      if (heardBytes >= 800) {
        heardBytes = -Infinity;
        model.say({ kind: 'speechStarted', atMs: 0 });
      }
    };
    model.say({ kind: 'ready' });
    model.say({ kind: 'responseStarted', responseId: 'r-1' });
    const speech = tone(4000);
    for (let at = 0; at < speech.byteLength; at += 4000)
      model.say({ kind: 'audio', responseId: 'r-1', part, audio: speech.subarray(at, at + 4000) });
    model.say({ kind: 'audioEnded', responseId: 'r-1', part });
    model.say({ kind: 'responseEnded', responseId: 'r-1', state: 'completed', usage: undefined });
  });
  const call = await placeCall(url, { link });
  expect(await call.whenHeard(1500, 20_000)).toBe(true);
  call.say(tone(400));
  await until(() => log.some((line) => line.startsWith('truncate')), 'the model was told');
  await call.wait(500);
  call.hangUp();
  const record = await ended(call);
  await until(() => events.some(({ kind }) => kind === 'ended'), 'the call has ended');
  return { record, events, toldMs: Number(log.find((line) => line.startsWith('truncate'))?.split(' ')[2]) };
}

describe('promise 22: an interruption over a socket', () => {
  test('is heard by the ear at once, and the model knows what was heard to 160 ms', async () => {
    const { events, record, toldMs } = await interrupt({});
    const { heardMs, interruptions } = figuresOf(record);
    // 100 ms until the model hears it, and its way.
    expect(interruptions[0]?.quietAfterMs).toBeLessThan(400);
    expect(heardMs - toldMs).toBeGreaterThanOrEqual(-160);
    expect(heardMs - toldMs).toBeLessThanOrEqual(250);
    expect(record.maxBufferedMs).toBeLessThanOrEqual(800.5);
    expect(record.clears).toHaveLength(1);
    expect(record.refusals).toEqual([]);
    expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'hangup' });
  });

  test('on a bad link it is the same, later by the link', async () => {
    const { record, toldMs } = await interrupt({ delayMs: 100, lossRate: 0.02, seed: 5 });
    const { heardMs, interruptions } = figuresOf(record);
    // What is on its way when the ear is told to stop is at most one window.
    expect(interruptions[0]?.quietAfterMs).toBeLessThan(800);
    expect(heardMs - toldMs).toBeGreaterThanOrEqual(-160);
    expect(heardMs - toldMs).toBeLessThanOrEqual(300);
    expect(record.maxBufferedMs).toBeLessThanOrEqual(800.5);
  });
});
