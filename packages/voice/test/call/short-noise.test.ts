import { describe, expect, test } from 'vitest';
import { type OpenedCall, openedCall, part, say, speech } from '../support/opened-call.ts';
import { ScriptedModel } from '../support/scripted-legs.ts';

async function openSpeaking(ms = 4000): Promise<OpenedCall> {
  const model = Object.assign(new ScriptedModel([]), { answersItself: false });
  const opened = { ...openedCall({ model, onShortNoise: 'resume' }), model };
  model.say({ kind: 'ready' });
  await say(opened, ms);
  await opened.clock.advance(1000);
  return opened;
}

describe('a short noise', () => {
  test('silences the ear at once, and then the answer goes on where it was; nobody else is told', async () => {
    const opened = await openSpeaking();
    const { carrier, clock, events, model } = opened;
    model.say({ kind: 'speechStarted', atMs: 0 });
    await clock.advance(100);
    const heard = carrier.ear.played.length;
    await clock.advance(500);
    expect(carrier.ear.played.length).toBe(heard);
    model.say({ kind: 'speechStopped', atMs: 600 });
    await clock.advance(5000);
    // What the ear heard twice or not at all is the guess between two marks.
    expect(Math.abs(carrier.ear.played.length / 8 - 4000)).toBeLessThanOrEqual(160);
    expect(model.log).toEqual([]);
    expect(events.map(({ kind }) => kind)).toContain('resumed');
    expect(events.map(({ kind }) => kind)).not.toContain('interrupted');
  });

  test('that goes on was speech: the model is told what was heard until then, and is asked when it stops', async () => {
    const opened = await openSpeaking();
    const { carrier, clock, events, model } = opened;
    model.say({ kind: 'speechStarted', atMs: 0 });
    await clock.advance(699);
    expect(model.log).toEqual([]);
    await clock.advance(2);
    const told = Number(/^truncate item-1\/0 (\d+)$/u.exec(model.log[0] ?? '')?.[1]);
    expect(Math.abs(told - carrier.ear.played.length / 8)).toBeLessThanOrEqual(160);
    expect(events.at(-1)).toMatchObject({ kind: 'interrupted' });
    model.say({ kind: 'speechStopped', atMs: 1500 });
    expect(model.log.slice(1)).toEqual(['respond ']);
    await clock.advance(5000);
    expect(carrier.ear.played.length / 8).toBeLessThan(1500);
  });

  test('into the last words, whose mark is on its way, holds nothing for ever', async () => {
    for (const early of [40, 80, 120, 200]) {
      const opened = await openSpeaking(200);
      const { carrier, clock, model } = opened;
      await clock.advance(2000);
      const last = { itemId: 'item-2', contentIndex: 0 };
      await say(opened, 1000, 'r-2', last);
      // Said in 100 ms; the way to the ear and back is 50 ms each.
      await clock.advance(1000 - early);
      model.say({ kind: 'speechStarted', atMs: 0 });
      await clock.advance(1000);
      model.say({ kind: 'speechStopped', atMs: 1000 });
      const heard = carrier.ear.played.length;
      await say(opened, 2000, 'r-3', { itemId: 'item-3', contentIndex: 0 });
      await clock.advance(4000);
      expect(carrier.ear.played.length - heard).toBe(2000 * 8);
    }
  });

  test('that is told twice is over in time', async () => {
    const opened = await openSpeaking();
    const { clock, events, model } = opened;
    for (let count = 0; count < 5; count += 1) {
      model.say({ kind: 'speechStarted', atMs: 0 });
      await clock.advance(300);
    }
    expect(events.map(({ kind }) => kind)).toContain('interrupted');
  });

  test('into silence is speech', async () => {
    const { clock, model } = await openSpeaking(200);
    await clock.advance(2000);
    model.say({ kind: 'speechStarted', atMs: 0 });
    model.say({ kind: 'speechStopped', atMs: 100 });
    expect(model.log).toEqual(['cancel', 'respond ']);
  });

  test('while the model is at work: what it says meanwhile is heard behind', async () => {
    const opened = await openSpeaking(1600);
    const { carrier, clock, model } = opened;
    const next = { itemId: 'item-2', contentIndex: 0 };
    model.say({ kind: 'responseStarted', responseId: 'r-2' });
    model.say({ kind: 'speechStarted', atMs: 0 });
    model.say({ kind: 'audio', responseId: 'r-2', part: next, audio: speech(1000) });
    await clock.advance(500);
    model.say({ kind: 'speechStopped', atMs: 500 });
    model.say({ kind: 'audioEnded', responseId: 'r-2', part: next });
    await clock.advance(5000);
    expect(Math.abs(carrier.ear.played.length / 8 - 2600)).toBeLessThanOrEqual(160);
    expect(model.log).toEqual([]);
  });

  test('during which the session fails holds nothing for ever', async () => {
    const { call, carrier, clock, model } = await openSpeaking();
    model.say({ kind: 'speechStarted', atMs: 0 });
    model.say({ kind: 'ended', code: 'lost', message: '' });
    await clock.advance(6000);
    await expect(call.ended).resolves.toBe('model_failed');
    expect(carrier.ear.played.length / 8).toBeGreaterThanOrEqual(3840);
  });

  test('is speech where nobody asked for anything else', async () => {
    const { log, model, clock, events } = openedCall();
    model.say({ kind: 'ready' });
    await say({ clock, model }, 2000);
    model.say({ kind: 'speechStarted', atMs: 0 });
    expect(log.at(-1)).toMatch(/^truncate/u);
    expect(events.at(-1)).toMatchObject({ kind: 'interrupted', unheard: [{ itemId: part.itemId }] });
  });

  test('cannot give an answer back that the model follows with another one by itself', () => {
    expect(() => openedCall({ onShortNoise: 'resume' })).toThrow(/answersItself: false/u);
    expect(() => openedCall({ shortNoiseMs: 1 })).toThrow(/shortNoiseMs: expected 100 to 3,000/u);
  });
});
