import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type AudioGap,
  MediaTimeline,
  silence,
  SpeechQueue,
  telephoneAudio,
  type TimedAudio,
} from '../../src/audio/index.ts';
import { checkProperty } from '../support/property.ts';

const quiet = silence(telephoneAudio, 160);
const loud = new Uint8Array(160).fill(0x90);

describe('promise 21: what waits between two stages is bounded in milliseconds', () => {
  test('silence is lost first, the oldest first, and then the oldest speech', () => {
    const gaps: AudioGap[] = [];
    const queue = new SpeechQueue({ format: telephoneAudio, maxMs: 100, onGap: (gap) => gaps.push(gap) });
    for (const [index, audio] of [loud, quiet, loud, quiet, loud, loud, loud, loud].entries())
      queue.push({ mediaMs: index * 20, audio });
    expect(gaps).toEqual([
      { fromMs: 20, toMs: 40, isSilence: true },
      { fromMs: 60, toMs: 80, isSilence: true },
      { fromMs: 0, toMs: 20, isSilence: false },
    ]);
    expect(queue.waitingMs).toBe(100);
    expect(queue.take()?.mediaMs).toBe(40);
  });

  test('whatever comes and is taken: bounded, in order, and what is lost and what is taken is what came', async () => {
    await checkProperty(
      'audio: speech queue',
      fc.property(
        fc.integer({ min: 20, max: 300 }),
        fc.array(
          fc.oneof(
            fc.record({
              ms: fc.integer({ min: 1, max: 60 }),
              isQuiet: fc.boolean(),
              jumpMs: fc.constantFrom(0, 0, 0, 40),
            }),
            fc.constant(undefined),
          ),
          { maxLength: 60 },
        ),
        (maxMs, steps) => {
          const lost: AudioGap[] = [];
          const taken: TimedAudio[] = [];
          const queue = new SpeechQueue({ format: telephoneAudio, maxMs, onGap: (gap) => lost.push(gap) });
          let mediaMs = 0;
          let pushedMs = 0;
          const take = (): boolean => {
            const next = queue.take();
            if (next !== undefined) taken.push(next);
            return next !== undefined;
          };
          for (const step of steps) {
            if (step === undefined) {
              take();
              continue;
            }
            mediaMs += step.jumpMs;
            const audio = new Uint8Array(step.ms * 8).fill(step.isQuiet ? 0xff : 0x90);
            queue.push({ mediaMs, audio });
            mediaMs += step.ms;
            pushedMs += step.ms;
            expect(queue.waitingMs).toBeLessThanOrEqual(maxMs);
          }
          while (take());
          const places = taken.map((one) => one.mediaMs);
          expect(places).toEqual(places.toSorted((one, other) => one - other));
          const takenMs = taken.reduce((sum, { audio }) => sum + audio.byteLength / 8, 0);
          const lostMs = lost.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
          expect(takenMs + lostMs).toBe(pushedMs);
        },
      ),
    );
  });

  test('half a sample is refused, and nothing is lost', () => {
    const queue = new SpeechQueue({ format: { encoding: 'pcm16', sampleRateHz: 16_000 } });
    queue.push({ mediaMs: 0, audio: new Uint8Array(4) });
    expect(() => queue.push({ mediaMs: 0, audio: new Uint8Array(3) })).toThrow(
      /whole samples of 2 bytes each, got 3/u,
    );
    expect(queue.waitingMs).toBe(0.125);
  });
});

describe('media time', () => {
  test('a jump of the time stamps becomes silence of its length', () => {
    const timeline = new MediaTimeline(telephoneAudio);
    expect(timeline.place(5, loud)).toEqual({
      audio: [{ mediaMs: 5, audio: loud }],
      missingMs: 0,
      isLate: false,
    });
    expect(timeline.place(25, loud).missingMs).toBe(0);
    expect(timeline.place(105, loud)).toEqual({
      audio: [
        { mediaMs: 45, audio: silence(telephoneAudio, 480) },
        { mediaMs: 105, audio: loud },
      ],
      missingMs: 60,
      isLate: false,
    });
  });

  test('time stamps that are rounded make no silence, and no drift', () => {
    const timeline = new MediaTimeline(telephoneAudio);
    for (let frame = 0; frame < 1000; frame += 1) {
      const uneven = frame * 20 + (frame % 3) * 7 - 7;
      const placed = timeline.place(Math.max(0, uneven), loud);
      expect(placed).toEqual({ audio: [{ mediaMs: frame * 20, audio: loud }], missingMs: 0, isLate: false });
    }
  });

  test('what comes twice or too late is left out', () => {
    const timeline = new MediaTimeline(telephoneAudio);
    for (const atMs of [0, 20, 40]) timeline.place(atMs, loud);
    expect(timeline.place(20, loud)).toEqual({ audio: [], missingMs: 0, isLate: true });
    expect(timeline.place(60, loud).isLate).toBe(false);
  });

  test('a long gap is filled with no more than was said', () => {
    const timeline = new MediaTimeline(telephoneAudio, 1000);
    timeline.place(0, loud);
    const { audio, missingMs } = timeline.place(3_600_000, loud);
    expect(missingMs).toBe(3_599_980);
    expect(audio.map((one) => [one.mediaMs, one.audio.byteLength])).toEqual([
      [3_599_000, 8000],
      [3_600_000, 160],
    ]);
  });
});
