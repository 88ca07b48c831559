import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AudioFormat, Playout, type PlayoutOptions, telephoneAudio } from '../../src/audio/index.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';
import { EarDouble } from '../support/ear-double.ts';
import { checkProperty } from '../support/property.ts';

const part = { itemId: 'item-1', contentIndex: 0 };

interface Call {
  readonly clock: VirtualClock;
  readonly ear: EarDouble;
  readonly playout: Playout;
}

function call(options: Partial<PlayoutOptions> & { readonly delayMs?: number } = {}): Call {
  const { delayMs = 50, ...rest } = options;
  const clock = new VirtualClock();
  const format: AudioFormat = rest.format ?? telephoneAudio;
  const ear = new EarDouble(clock, format, delayMs);
  const playout = new Playout(ear, { format, clock, ...rest });
  ear.onMark = (name) => playout.returned(name);
  return { clock, ear, playout };
}

/** Audio that differs from byte to byte, so that order shows. */
function speech(ms: number, from = 0): Uint8Array {
  return Uint8Array.from({ length: ms * 8 }, (_, index) => (from + index) % 251);
}

describe('promise 21: audio on its way to an ear is never more than its window', () => {
  test('four seconds that come in 600 ms are played as they are, without a hole', async () => {
    const underruns: number[] = [];
    const { clock, ear, playout } = call({ onUnderrun: (ms) => underruns.push(ms) });
    const said = speech(4000);
    for (let delta = 0; delta < 20; delta += 1) {
      playout.write(part, said.subarray(delta * 1600, (delta + 1) * 1600));
      await clock.advance(30);
      expect(ear.onItsWayMs).toBeLessThanOrEqual(800);
    }
    playout.end(part);
    for (let step = 0; step < 40; step += 1) {
      await clock.advance(100);
      expect(ear.onItsWayMs).toBeLessThanOrEqual(800);
    }
    expect(Uint8Array.from(ear.played)).toEqual(said);
    expect(underruns).toEqual([]);
    expect(playout.isIdle).toBe(true);
    expect(playout.marksOut).toBe(0);
  });

  test('an hour is an hour: the clock does not drift, however late timers are', async () => {
    const { clock, ear, playout } = call();
    let lateMs = 0;
    const late = new Playout(
      { send: (frame) => ear.send(frame), mark: (name) => ear.mark(name), clear: () => ear.clear() },
      {
        format: telephoneAudio,
        clock: {
          nowMs: () => clock.nowMs(),
          after: (ms, callback) => clock.after(Math.ceil(ms) + (lateMs = (lateMs + 7) % 19), callback),
        },
        onUnderrun: () => expect.unreachable(),
      },
    );
    playout.close();
    ear.onMark = (name) => late.returned(name);
    const minutes = 10;
    for (let minute = 0; minute < minutes; minute += 1) {
      expect(late.write(part, speech(60_000))).toBe(true);
      await clock.advance(60_000);
    }
    await clock.advance(1000);
    // All but what is less than a frame has been played: nothing was added, nothing fell behind.
    expect(ear.played.length).toBe(minutes * 60_000 * 8);
  });

  test('an ear that confirms at once gets no more than plays in real time', async () => {
    const clock = new VirtualClock();
    let sentMs = 0;
    const ear = {
      send: (frame: Uint8Array) => void (sentMs += frame.byteLength / 8),
      mark: (name: string) => void clock.after(0, () => playout.returned(name)),
      clear: () => undefined,
    };
    const playout = new Playout(ear, { format: telephoneAudio, clock });
    playout.write(part, speech(60_000));
    await clock.advance(5000);
    expect(sentMs).toBeLessThanOrEqual(5800);
    expect(sentMs).toBeGreaterThanOrEqual(5780);
    playout.close();
  });

  test('an ear that confirms nothing gets one window', async () => {
    const { clock, ear, playout } = call();
    ear.onMark = () => undefined;
    playout.write(part, speech(60_000));
    await clock.advance(30_000);
    expect(ear.played.length).toBe(800 * 8);
    expect(playout.waitingMs).toBe(59_200);
    expect(playout.marksOut).toBe(5);
  });

  test('an ear that had nothing to play in the middle of a part is an underrun, between parts it is none', async () => {
    const underruns: number[] = [];
    const { clock, playout } = call({ onUnderrun: (ms) => underruns.push(ms) });
    playout.write(part, speech(400));
    await clock.advance(1000);
    playout.write(part, speech(400));
    playout.end(part);
    await clock.advance(3000);
    playout.write({ itemId: 'item-2', contentIndex: 0 }, speech(400));
    await clock.advance(1000);
    expect(underruns).toEqual([600]);
  });
});

describe('answers that are too long', () => {
  test('are cut at the last pause, and the rest of the part is refused', async () => {
    const cuts: number[] = [];
    const { clock, ear, playout } = call({ maxWaitingMs: 2000, onCut: (_, keptMs) => cuts.push(keptMs) });
    const loud = new Uint8Array(8 * 1200).fill(0x90);
    const pause = new Uint8Array(8 * 200).fill(0xff);
    expect(playout.write(part, loud)).toBe(true);
    expect(playout.write(part, pause)).toBe(true);
    expect(playout.write(part, loud)).toBe(true);
    expect(playout.write(part, loud)).toBe(false);
    expect(playout.write(part, pause)).toBe(false);
    playout.end(part);
    const next = { itemId: 'item-2', contentIndex: 0 };
    expect(playout.write(next, speech(100))).toBe(true);
    playout.end(next);
    await clock.advance(5000);
    const heardMs = ear.played.length / 8;
    // Both parts end with a whole frame.
    expect(cuts).toHaveLength(1);
    expect(heardMs).toBe(Math.ceil((cuts[0] ?? 0) / 20) * 20 + 100);
    expect(heardMs).toBeGreaterThanOrEqual(1200 + 160 + 100);
    expect(heardMs).toBeLessThanOrEqual(1200 + 200 + 100 + 20);
    expect(playout.isIdle).toBe(true);
  });

  test('are kept whole up to the bound, where there is no pause', async () => {
    const cuts: number[] = [];
    const { clock, ear, playout } = call({ maxWaitingMs: 1000, onCut: (_, keptMs) => cuts.push(keptMs) });
    expect(playout.write(part, new Uint8Array(8 * 1800).fill(0x90))).toBe(false);
    expect(playout.write({ itemId: 'item-2', contentIndex: 0 }, new Uint8Array(8 * 900).fill(0x90))).toBe(
      true,
    );
    expect(playout.write({ itemId: 'item-2', contentIndex: 0 }, new Uint8Array(8 * 1000).fill(0x90))).toBe(
      false,
    );
    await clock.advance(2000);
    expect(ear.played.length).toBe(8 * 900);
    expect(cuts).toEqual([0, 900]);
    expect(playout.isIdle).toBe(true);
  });
});

describe('promise 22: after a barge-in nothing more leaves, and it is known what was heard', () => {
  test('the founding case: four seconds in 600 ms, interrupted after two', async () => {
    const { clock, ear, playout } = call();
    const said = speech(4000);
    for (let delta = 0; delta < 20; delta += 1) {
      playout.write(part, said.subarray(delta * 1600, (delta + 1) * 1600));
      await clock.advance(30);
    }
    playout.end(part);
    await clock.advance(1400);
    const truthMs = ear.played.length / 8;
    const { sentMs, unheard, waitingMs } = playout.interrupt();
    expect(unheard).toHaveLength(1);
    expect(Math.abs((unheard[0]?.heardMs ?? 0) - truthMs)).toBeLessThanOrEqual(160);
    expect(waitingMs).toBeGreaterThan(1000);
    expect(sentMs).toBeLessThanOrEqual(800);
    await clock.advance(5000);
    // The link's own time, and nothing of the window.
    expect(ear.played.length / 8).toBeLessThanOrEqual(truthMs + 51);
    expect(playout.isIdle).toBe(true);
  });

  test.each([0, 20, 100, 300])(
    'over a way of %i ms: what was heard until the word arrived',
    async (delayMs) => {
      const { clock, ear, playout } = call({ delayMs, windowMs: 1000 });
      playout.write(part, speech(20_000));
      for (const [index, ms] of [3000, 1717, 40].entries()) {
        await clock.advance(ms);
        const [heard] = playout.interrupt().unheard;
        await clock.advance(delayMs + 1);
        expect(Math.abs((heard?.heardMs ?? 0) - ear.played.length / 8)).toBeLessThanOrEqual(30);
        ear.played.length = 0;
        playout.write({ itemId: `next-${index}`, contentIndex: 0 }, speech(20_000));
      }
    },
  );

  test('an ear that stands still has heard no more than one mark beyond what it plays', async () => {
    const { clock, ear, playout } = call();
    playout.write(part, speech(4000));
    await clock.advance(1000);
    ear.isStalled = true;
    await clock.advance(3000);
    const [heard] = playout.interrupt().unheard;
    expect((heard?.heardMs ?? 0) - ear.played.length / 8).toBeLessThanOrEqual(160 + 100);
  });

  test('marks that come back because of the clear confirm nothing of the next answer', async () => {
    const { clock, ear, playout } = call();
    playout.write(part, speech(4000));
    await clock.advance(500);
    playout.interrupt();
    const next = { itemId: 'item-2', contentIndex: 0 };
    playout.write(next, speech(4000));
    // All marks of the old answer come back now, while the new one has hardly begun.
    await clock.advance(101);
    const { unheard } = playout.interrupt();
    expect(unheard.map(({ itemId }) => itemId)).toEqual(['item-2']);
    expect(unheard[0]?.heardMs).toBeLessThanOrEqual(110);
    await clock.advance(1000);
    expect(ear.onItsWayMs).toBe(0);
  });

  test('a part of which nothing was sent was not heard at all', async () => {
    const { clock, playout } = call();
    playout.write(part, speech(2000));
    playout.end(part);
    const next = { itemId: 'item-2', contentIndex: 0 };
    playout.write(next, speech(100));
    await clock.advance(300);
    expect(playout.interrupt().unheard).toEqual([
      { ...part, heardMs: 300, sentMs: 960 },
      { ...next, heardMs: 0, sentMs: 0 },
    ]);
  });

  test('a part that goes on at the model was heard as far as it was sent', async () => {
    const { clock, playout } = call();
    playout.write(part, speech(160));
    await clock.advance(1000);
    expect(playout.interrupt().unheard).toEqual([{ ...part, heardMs: 160, sentMs: 160 }]);
  });

  test('a part that was heard to its end is nobody’s to cut', async () => {
    const heard: string[] = [];
    const { clock, playout } = call({ onHeard: ({ itemId }) => heard.push(itemId) });
    playout.write(part, speech(250));
    playout.end(part);
    await clock.advance(1000);
    expect(heard).toEqual(['item-1']);
    expect(playout.interrupt()).toEqual({ unheard: [], sentMs: 0, waitingMs: 0 });
  });
});

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ write: fc.integer({ min: 1, max: 700 }) }) },
  { weight: 8, arbitrary: fc.record({ advance: fc.integer({ min: 1, max: 400 }) }) },
  { weight: 2, arbitrary: fc.constant('end' as const) },
  { weight: 2, arbitrary: fc.constant('interrupt' as const) },
  { weight: 1, arbitrary: fc.constant('hold' as const) },
  { weight: 1, arbitrary: fc.constant('stall' as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('0.99', '7.7', 'x', '', '99999999999.1').map((mark) => ({ mark })),
  },
);

describe('an ear that is held', () => {
  test('is silent at once, and goes on where it was, to the sample', async () => {
    const { clock, ear, playout } = call({ delayMs: 0 });
    playout.write(part, speech(2000));
    playout.end(part);
    // Without a way to the ear, the clock guesses right.
    await clock.advance(700);
    playout.hold();
    playout.hold();
    await clock.advance(0);
    expect(ear.onItsWayMs).toBe(0);
    const heard = ear.played.length;
    expect(heard).toBe(700 * 8);
    playout.write({ itemId: 'item-2', contentIndex: 0 }, speech(400, 50));
    await clock.advance(5000);
    expect(ear.played.length).toBe(heard);
    expect(playout.unconfirmedMs).toBe(0);
    playout.release();
    playout.release();
    await clock.advance(5000);
    expect(Buffer.compare(Buffer.from(ear.played), Buffer.concat([speech(2000), speech(400, 50)]))).toBe(0);
  });

  test('and then interrupted has heard what it had before, and nothing since', async () => {
    const { clock, ear, playout } = call({ delayMs: 50 });
    playout.write(part, speech(3000));
    await clock.advance(1000);
    playout.hold();
    await clock.advance(2000);
    const truthMs = ear.played.length / 8;
    const held = playout.interrupt();
    expect(held.unheard).toHaveLength(1);
    expect(Math.abs((held.unheard[0]?.heardMs ?? 0) - truthMs)).toBeLessThanOrEqual(160);
    // Held twice, it counts from the beginning.
    playout.write({ itemId: 'item-3', contentIndex: 0 }, speech(3000));
    await clock.advance(600);
    playout.hold();
    playout.release();
    await clock.advance(600);
    playout.hold();
    playout.release();
    await clock.advance(600);
    const beforeMs = ear.played.length / 8 - truthMs;
    const last = playout.interrupt();
    expect(Math.abs((last.unheard[0]?.heardMs ?? 0) - beforeMs)).toBeLessThanOrEqual(160 + 100);
    expect(last.unheard[0]?.sentMs).toBeLessThanOrEqual(3000);
  });

  test('tells of each part once that it was heard, also of one whose end was on its way', async () => {
    const heard: string[] = [];
    const { clock, playout } = call({ delayMs: 50, onHeard: ({ itemId }) => heard.push(itemId) });
    playout.write(part, speech(400));
    playout.end(part);
    await clock.advance(440);
    playout.hold();
    playout.write({ itemId: 'item-2', contentIndex: 0 }, speech(20));
    playout.end({ itemId: 'item-2', contentIndex: 0 });
    await clock.advance(1000);
    playout.release();
    await clock.advance(1000);
    expect(heard).toEqual(['item-1', 'item-2']);
    expect(playout.isIdle).toBe(true);
  });
});

test('promises 21 and 22: whatever a model, an ear and a human do', async () => {
  await checkProperty(
    'audio: playout',
    fc.asyncProperty(
      fc.integer({ min: 0, max: 150 }),
      fc.constantFrom(200, 400, 800, 1000),
      fc.array(step, { minLength: 5, maxLength: 40 }),
      async (delayMs, windowMs, steps) => {
        const { clock, ear, playout } = call({ delayMs, windowMs });
        let item = 0;
        let saidMs = 0;
        let droppedMs = 0;
        let hasStalled = false;
        /** What was written of each item that is not over. */
        const written = new Map<string, number>();
        const check = (): void => {
          expect(ear.onItsWayMs).toBeLessThanOrEqual(windowMs);
          expect(playout.unconfirmedMs).toBeLessThanOrEqual(windowMs);
          expect(ear.onItsWayMs).toBeLessThanOrEqual(playout.unconfirmedMs + 0.001);
        };
        for (const what of steps) {
          const itemId = `item-${item}`;
          if (what === 'interrupt') {
            ear.isStalled = false;
            const truthMs = ear.onItsWayMs;
            const { sentMs, unheard, waitingMs } = playout.interrupt();
            droppedMs += waitingMs;
            expect(sentMs).toBeLessThanOrEqual(windowMs);
            for (const one of unheard) {
              expect(one.heardMs).toBeGreaterThanOrEqual(0);
              expect(one.heardMs).toBeLessThanOrEqual(one.sentMs);
              expect(one.sentMs).toBeLessThanOrEqual(written.get(one.itemId) ?? 0);
            }
            const remainingMs = unheard.reduce((sum, one) => sum + one.sentMs - one.heardMs, 0);
            expect(remainingMs).toBeLessThanOrEqual(sentMs + 0.001);
            written.clear();
            item += 1;
            // What is on its way to the ear may still play until the clear arrives.
            const playedMs = ear.played.length / 8;
            await clock.advance(delayMs + 1);
            const unheardMs = truthMs - (ear.played.length / 8 - playedMs);
            // Right to one mark, or the way there and back before it is known; a frame's silence belongs to nobody.
            if (!hasStalled)
              expect(Math.abs(remainingMs - unheardMs)).toBeLessThanOrEqual(Math.max(160, 2 * delayMs) + 21);
            expect(ear.onItsWayMs).toBe(0);
          } else if (what === 'hold') {
            ear.isStalled = false;
            playout.hold();
            await clock.advance(delayMs + 1);
            // The ear is silent, and what it had not heard waits.
            expect(ear.onItsWayMs).toBe(0);
            expect(playout.unconfirmedMs).toBe(0);
            await clock.advance(500);
            playout.release();
          } else if (what === 'end') {
            playout.end({ itemId, contentIndex: 0 });
            item += 1;
          } else if (what === 'stall') {
            ear.isStalled = !ear.isStalled;
            hasStalled = true;
          } else if ('mark' in what) playout.returned(what.mark);
          else if ('write' in what) {
            written.set(itemId, (written.get(itemId) ?? 0) + what.write);
            saidMs += what.write;
            playout.write({ itemId, contentIndex: 0 }, speech(what.write));
          } else
            for (let ms = 0; ms < what.advance; ms += 10) {
              await clock.advance(10);
              check();
            }
          if (what !== 'interrupt') check();
        }
        // In the end all that was not dropped is heard.
        ear.isStalled = false;
        playout.end({ itemId: `item-${item}`, contentIndex: 0 });
        // A window that is shorter than the marks' way back and forth is not used well.
        await clock.advance(saidMs * 4 + 5000);
        expect(playout.isIdle).toBe(true);
        expect(droppedMs).toBeLessThanOrEqual(saidMs);
      },
    ),
    200,
  );
});
