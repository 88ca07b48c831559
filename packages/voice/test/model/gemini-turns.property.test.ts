import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { CallerSound } from '../../src/model/caller-sound.ts';
import { GeminiTurns } from '../../src/model/gemini-turns.ts';
import type { ModelEvent } from '../../src/index.ts';

const pcm16 = { encoding: 'pcm16', sampleRateHz: 16_000 } as const;

/** What may happen, in any order: an API that says too much, too little or too late. */
const step = fc.oneof(
  fc.constantFrom(
    'audio',
    'words',
    'heard',
    'interrupted',
    'generationComplete',
    'turnComplete',
    'tool',
    'results',
    'tookBack',
    'cancel',
    'text',
    'loud',
    'quiet',
    'late',
  ),
);

test('whatever comes: one response at a time, each ended once, and no audio behind its part’s end', async () => {
  await checkProperty(
    'voice: turns of Gemini',
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const events: ModelEvent[] = [];
      const timers: (() => void)[] = [];
      const sound = new CallerSound(pcm16);
      const turns = new GeminiTurns({
        clock: {
          after: (_ms, callback) => {
            timers.push(callback);
            return { stop: () => timers.splice(timers.indexOf(callback), 1) };
          },
        },
        sound,
        emit: (event) => events.push(event),
        onIdle: () => undefined,
      });
      const actions: Readonly<Record<(typeof steps)[number], () => void>> = {
        audio: () => turns.take({}, [new Uint8Array(960)]),
        words: () => turns.take({ outputTranscription: { text: 'word ' } }, []),
        heard: () => turns.take({ inputTranscription: { text: 'word ' } }, []),
        interrupted: () => turns.take({ interrupted: true }, []),
        generationComplete: () => turns.take({ generationComplete: true }, []),
        turnComplete: () => turns.take({ turnComplete: true }, []),
        tool: () => turns.called(() => undefined),
        results: () => turns.answering(),
        tookBack: () => turns.tookBack(),
        cancel: () => turns.cancel(),
        text: () => turns.texted(),
        loud: () => {
          sound.sent(new Uint8Array(640).fill(0x22));
          turns.heard();
        },
        quiet: () => {
          sound.sent(new Uint8Array(32_000));
          turns.heard();
        },
        late: () => timers.shift()?.(),
      };
      for (const one of steps) actions[one]();
      // In the end each turn is over.
      actions.turnComplete();
      let open: string | undefined;
      const endedParts = new Set<string>();
      const ids = new Set<string>();
      let words = 0;
      const said = { partial: 0, whole: 0 };
      for (const event of events) {
        if (event.kind === 'responseStarted') {
          expect(open).toBeUndefined();
          expect(ids.has(event.responseId)).toBe(false);
          open = event.responseId;
          ids.add(open);
        } else if (event.kind === 'responseEnded') {
          expect(event.responseId).toBe(open);
          open = undefined;
        } else if (event.kind === 'audio' || event.kind === 'audioEnded') {
          expect(endedParts.has(event.part.itemId)).toBe(false);
          if (event.kind === 'audioEnded') endedParts.add(event.part.itemId);
        } else if (event.kind === 'said' || event.kind === 'heard') {
          const count = event.text.trim().split(' ').length;
          if (event.isWhole) words += count;
          if (event.kind === 'said') said[event.isWhole ? 'whole' : 'partial'] += count;
        }
      }
      expect(open).toBeUndefined();
      // What was said and heard is told whole, once, but for the words of what was dropped.
      const told = steps.filter((one) => one === 'words' || one === 'heard').length;
      if (steps.includes('cancel')) expect(words).toBeLessThanOrEqual(told);
      else expect(words).toBe(told);
      // Of words behind a turn nobody knows at first which turn's they are: those are not told before.
      expect(said.partial).toBeLessThanOrEqual(said.whole);
      const spoken = new Set(events.flatMap((event) => (event.kind === 'audio' ? [event.part.itemId] : [])));
      expect(endedParts).toEqual(spoken);
    }),
  );
});
