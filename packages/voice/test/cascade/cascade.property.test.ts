import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { StageError, type StageErrorCode } from '../../src/index.ts';
import { OpenedCascade } from '../support/opened-cascade.ts';
import { msPerCharacter, type Said } from '../support/scripted-stages.ts';

/** What happens in a call, one thing after the other. */
type Step =
  | { readonly kind: 'say'; readonly ms: number; readonly hasWords: boolean }
  | { readonly kind: 'wait'; readonly ms: number }
  /** The next answer of the model. */
  | { readonly kind: 'answer'; readonly parts: readonly Part[] }
  | { readonly kind: 'speaker'; readonly atMs: number; readonly fault: Fault }
  | { readonly kind: 'recogniser'; readonly delayMs: number }
  /** The ear's marks are late for a while, and come then. */
  | { readonly kind: 'holdMarks'; readonly ms: number }
  | { readonly kind: 'interrupt' }
  | { readonly kind: 'digit' }
  | { readonly kind: 'result' };

type Part = { readonly words: number } | { readonly pauseMs: number } | 'tool' | StageErrorCode;
type Fault = number | StageErrorCode;

const codes = ['bad_message', 'late', 'lost', 'rate_limited', 'refused', 'unreachable'] as const;
const code = fc.constantFrom<StageErrorCode>(...codes);
const part: fc.Arbitrary<Part> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ words: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ pauseMs: fc.integer({ min: 1, max: 4000 }) }) },
  { weight: 2, arbitrary: fc.constant('tool' as const) },
  { weight: 1, arbitrary: code },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('say' as const),
      ms: fc.integer({ min: 20, max: 2000 }),
      hasWords: fc.integer({ min: 0, max: 3 }).map((one) => one > 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 6000 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      parts: fc.array(part, { maxLength: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('speaker' as const),
      atMs: fc.integer({ min: 0, max: 3000 }),
      fault: fc.oneof(fc.integer({ min: 1, max: 9000 }), code),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('recogniser' as const),
      delayMs: fc.integer({ min: 0, max: 4000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('holdMarks' as const),
      ms: fc.integer({ min: 100, max: 8000 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Step>(
      { kind: 'interrupt' },
      { kind: 'digit' },
      { kind: 'result' },
      { kind: 'result' },
    ),
  },
);

const longAnswer = Array.from({ length: 8 }, (_, at) => `This is number ${at} of the sentences.`).join(' ');
const thresholdMs = 800;
/** The longest piece of text that a speaker gets. */
const longestMs = 200 * msPerCharacter;
/** 13 s of text by the speaker's pace, which is learned: 65 ms a character before it is known. */
const maxTextMs = 13_000 * (65 / msPerCharacter);

async function take(opened: OpenedCascade, one: Step, at: number): Promise<void> {
  const { carrier, clock, reasoner, recogniser, speaker } = opened;
  switch (one.kind) {
    case 'say':
      if (reasoner.answers.length === 0) reasoner.answers.push([longAnswer]);
      await opened.say(one.ms, one.hasWords ? `Words number ${at}.` : '');
      break;
    case 'wait':
      await clock.advance(one.ms);
      break;
    case 'answer':
      reasoner.answers.unshift(one.parts.map((each, index) => saidOf(each, `${at}-${index}`)));
      break;
    case 'speaker':
      speaker.faults.push({
        atMs: one.atMs,
        fault: typeof one.fault === 'number' ? one.fault : new StageError(one.fault, 'As the test says.'),
      });
      break;
    case 'recogniser':
      recogniser.delayMs = one.delayMs;
      break;
    case 'holdMarks': {
      const { onMark } = carrier.ear;
      const held: string[] = [];
      carrier.ear.onMark = (name) => held.push(name);
      await clock.advance(one.ms);
      carrier.ear.onMark = onMark;
      for (const name of held) onMark(name);
      break;
    }
    case 'interrupt':
      opened.call.interrupt();
      break;
    case 'digit':
      carrier.tell({ kind: 'digit', digit: '5' });
      break;
    case 'result':
      for (const { callId } of opened.of('toolCalled')) opened.call.giveResult(callId, 'Done.');
      break;
  }
}

function saidOf(each: Part, id: string): Said {
  if (each === 'tool') return { kind: 'toolCalled', callId: id, name: 'find', input: '{}' };
  if (typeof each === 'string') return new StageError(each, 'As the test says.');
  if ('pauseMs' in each) return each.pauseMs;
  const words = Array.from({ length: each.words }, (_, at) => `w${at}${at % 7 === 6 ? '.' : ''}`);
  return `${words.join(' ')}. `;
}

describe('promises 21 and 22 of a cascade, whatever happens in a call', () => {
  test('its bounds hold, one answer and one sentence are made at a time, and the next question has its answer', async () => {
    await checkProperty(
      'cascade: bounds, one at a time, and an answer at last',
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 16, size: 'max' }), async (steps) => {
        const opened = new OpenedCascade(
          { unheardMs: thresholdMs },
          { stallTimeoutMs: 60_000, reopenModel: () => undefined },
        );
        let mostTextMs = 0;
        opened.clock.every(50, () => {
          mostTextMs = Math.max(mostTextMs, opened.call.figures.stages[2]?.depthMs ?? 0);
        });
        for (const [at, one] of steps.entries()) {
          await take(opened, one, at);
          await opened.clock.advance(1);
        }
        const { call, reasoner, recogniser, speaker } = opened;
        expect(reasoner.mostRunning).toBeLessThanOrEqual(1);
        expect(speaker.mostRunning).toBeLessThanOrEqual(1);
        expect(opened.mostUnheardMs).toBeLessThanOrEqual(thresholdMs + longestMs);
        // What waits, what is being spoken, and one that is written.
        expect(mostTextMs).toBeLessThanOrEqual(maxTextMs + 2 * 200 * 65);
        expect(call.figures.inWaitingMs).toBeLessThanOrEqual(400);
        for (const { text } of speaker.spoken) expect(text.length).toBeLessThanOrEqual(201);
        // A model that fails twice in a row ends a call that has no other.
        if (opened.of('ended').length > 0) return;
        recogniser.delayMs = 200;
        speaker.faults.length = 0;
        reasoner.answers.length = 0;
        await opened.clock.advance(20_000);
        for (const { callId } of opened.of('toolCalled')) call.giveResult(callId, 'Done.');
        await opened.clock.advance(40_000);
        if (opened.of('ended').length > 0) return;
        recogniser.words.length = 0;
        const before = speaker.spoken.length;
        reasoner.answers.push(['Yes, I am.']);
        await opened.say(1000, 'Are you there?');
        await opened.clock.advance(3000);
        expect(opened.spoken.slice(before)).toEqual(['Yes, I am.']);
        // Nobody believes to have said what nobody has heard.
        const known = reasoner.asked.at(-1)?.flatMap((one) => (one.role === 'assistant' ? [one.text] : []));
        const heardMs = opened.carrier.ear.played.length / 8;
        expect((known?.join(' ').length ?? 0) * msPerCharacter).toBeLessThanOrEqual(heardMs * 1.1 + 500);
        expect(reasoner.asked.at(-1)?.at(-1)).toEqual({ role: 'user', text: 'Are you there?' });
        await opened.clock.advance(5000);
        expect(call.figures).toMatchObject({ outWaitingMs: 0, outUnconfirmedMs: 0, inWaitingMs: 0 });
        expect(call.figures.stages.map(({ depthMs }) => depthMs)).toEqual([0, 0, 0]);
        call.close();
      }),
      40,
    );
  });
});
