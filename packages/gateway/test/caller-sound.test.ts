import { telephoneAudio } from '@spillway/core/audio';
import type { StageFigures, StageName } from '@spillway/voice';
import { speech } from '@spillway/voice/simulate/speech';
import { expect, test } from 'vitest';
import { CallStages } from '../src/voice/call-stages.ts';
import { CallerSound } from '../src/voice/caller-sound.ts';
import { speechCost } from '../src/voice/speech-cost.ts';
import { talk } from '../src/simulate/talk.ts';

const frames = (audio: Uint8Array): Uint8Array[] =>
  Array.from({ length: Math.floor(audio.length / 160) }, (_, at) => audio.subarray(at * 160, (at + 1) * 160));

function heard(audio: Uint8Array, format = telephoneAudio): CallerSound {
  const sound = new CallerSound(format);
  for (const frame of frames(audio)) sound.hear(frame);
  return sound;
}

test('a caller has so much speech, at a level, and none of it is distorted', () => {
  const { audio } = speech('caller-question');
  const silence = new Uint8Array(8000).fill(0xff);
  const sound = heard(Buffer.concat([silence, audio, silence]));
  const { clippedMs, heardMs, speechMs } = sound.totals;
  expect(heardMs).toBeCloseTo(2000 + audio.length / 8, -2);
  expect(speechMs).toBeGreaterThan(1000);
  expect(speechMs).toBeLessThan(audio.length / 8);
  expect(clippedMs).toBe(0);
  expect(sound.levelDb).toBeGreaterThan(-26);
  expect(sound.levelDb).toBeLessThan(-10);
  expect(heard(silence)).toMatchObject({ levelDb: undefined, totals: { speechMs: 0, clippedMs: 0 } });
});

test('speech at full scale is distorted, and a single click is not', () => {
  const loud = new Uint8Array(1600).map((_, at) => (at % 8 < 4 ? 0x80 : 0x00));
  expect(heard(loud).totals).toEqual({ heardMs: 200, speechMs: 200, clippedMs: 200 });
  const click = new Uint8Array(160).fill(0x9f);
  click[80] = 0x80;
  expect(heard(click).totals).toEqual({ heardMs: 20, speechMs: 20, clippedMs: 0 });
  const pcm = { encoding: 'pcm16', sampleRateHz: 8000 } as const;
  const full = new Uint8Array(new Int16Array(80).fill(32_767).buffer);
  expect(heard(full, pcm).totals).toEqual({ heardMs: 10, speechMs: 10, clippedMs: 10 });
});

const figures = (stage: StageName, more: Partial<StageFigures> = {}): StageFigures => ({
  stage,
  api: 'any',
  depthMs: 0,
  waitedMs: undefined,
  doneMs: 0,
  busyMs: 0,
  errors: 0,
  droppedMs: 0,
  characters: 0,
  ...more,
});

test('the stages of a call are those of all its sessions together, with what waits in the present one', () => {
  const stages = new CallStages();
  expect(stages.figures).toEqual([]);
  stages.opened({ stages: [figures('speak', { depthMs: 500, doneMs: 1000, characters: 20, errors: 1 })] });
  stages.opened({ stages: [figures('speak', { depthMs: 40, doneMs: 300, characters: 5, waitedMs: 80 })] });
  expect(stages.figures).toEqual([
    figures('speak', { depthMs: 40, doneMs: 1300, characters: 25, errors: 1, waitedMs: 80 }),
  ]);
  stages.opened({});
  expect(stages.figures).toEqual([]);
});

test('speech costs by the minute and the character, and what nobody heard of it by its share', () => {
  const recognise = { model: 'a', sinceMs: 0, minute: 600_000, characters: undefined };
  const speak = { model: 'b', sinceMs: 0, minute: undefined, characters: 15_000_000 };
  const call = {
    droppedMs: 1500,
    stages: [
      figures('recognise', { doneMs: 30_000 }),
      figures('speak', { doneMs: 5000, droppedMs: 1000, characters: 100 }),
    ],
  };
  // Of 6 s that are paid, 1 s was never made and 1.5 s were not heard.
  expect(speechCost(call, { recognise, speak })).toEqual({ cost: 300_000 + 1500, wastedCost: 625 });
  expect(speechCost(call, { recognise: undefined, speak: undefined })).toEqual({ cost: 0, wastedCost: 0 });
  expect(speechCost({ droppedMs: 9000, stages: [] }, { recognise, speak })).toEqual({
    cost: 0,
    wastedCost: 0,
  });
});

test('a simulated model talks about what was said to it', () => {
  const said = (...messages: object[]): string => talk(messages).join('');
  expect(said({ role: 'system', content: 'Say hello.' })).toMatch(/^Hello/u);
  expect(said({ role: 'user', content: 'when are you open' })).toBe(
    'You said: when are you open. We are open from nine in the morning until six in the evening, Monday to Friday.',
  );
  const parts = [{ type: 'text', text: 'A yellow' }, { type: 'image_url' }, { type: 'text', text: 'house!' }];
  expect(said({ role: 'user', parts }, { role: 'model', parts: [{ text: 'And now?' }] })).toBe(
    'You said: A yellow house! Tell me more about that.',
  );
  expect(said({ role: 'user', content: [{ type: 'text', text: '(Nothing was said.)' }] })).toMatch(/^Hello/u);
  const late = { role: 'assistant', content: 'And now?' };
  expect(said({ role: 'user', content: parts }, late)).toBe(
    'You said: A yellow house! Tell me more about that.',
  );
  expect(said({ role: 'tool', content: '{"open":true}' })).toBe(
    'I have looked it up. It says: {"open":true}',
  );
  expect(said({ role: 'user', content: ' ' })).toMatch(/^I could not hear you/u);
  expect(said({ role: 'user', content: 'x'.repeat(100_000) }).length).toBeLessThan(400);
  for (const odd of [undefined, null, 7, [null], [{ role: 1 }], [{ role: 'user', content: [7] }]])
    expect(talk(odd).length).toBeGreaterThan(3);
});
