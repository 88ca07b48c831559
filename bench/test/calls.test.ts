import { expect, test } from 'vitest';
import { toldOf } from '../calls/conversation.ts';
import { PlainEar } from '../calls/plain-ear.ts';
import { frameAgeUs, stampedFrame } from '../calls/stamped-frame.ts';

test('a frame is 20 ms of audio that keeps its stamp when it is decoded and encoded', () => {
  const frame = stampedFrame(1_234_567.8);
  const audio = Buffer.from(frame, 'base64');
  expect(audio.byteLength).toBe(160);
  expect(audio.toString('base64')).toBe(frame);
  expect(frameAgeUs(`{"audio":"${frame}"}`, 10, 1_234_867.8)).toBe(300);
});

test('a frame says how old it is when the clock has started again', () => {
  expect(frameAgeUs(stampedFrame(1e12 - 100), 0, 1e12 + 50)).toBe(150);
});

test('an ear gives marks back when what was before them is played, and notices when it has nothing', () => {
  const ear = new PlainEar();
  ear.add(20, 0);
  ear.mark('a');
  ear.add(20, 10);
  ear.mark('b');
  expect(ear.takeDue(19)).toEqual([]);
  expect(ear.takeDue(20)).toEqual(['a']);
  expect(ear.underruns).toBe(0);
  ear.add(20, 40);
  expect(ear.underruns).toBe(0);
  ear.add(20, 61);
  expect(ear.underruns).toBe(1);
  expect(ear.takeDue(100)).toEqual(['b']);
});

test('what a model believes: what it was told, nothing of what was deleted, all of what nobody spoke of', () => {
  const responses = ['a', 'b', 'c'].map((itemId) => ({
    id: `r-${itemId}`,
    itemId,
    madeMs: 4000,
    state: 'completed',
  }));
  const truth = {
    responses: [{ id: 'r', itemId: undefined, madeMs: 0, state: 'cancelled' }, ...responses],
    truncations: [{ itemId: 'a', audioEndMs: 1500, madeMs: 4000 }],
    deletions: ['b'],
  };
  expect([0, 1, 2].map((index) => toldOf(truth, index))).toEqual([1500, 0, 4000]);
  expect(toldOf(truth, 3)).toBeNaN();
});
