import { telephoneAudio } from '@spillway/core/audio';
import type { ModelEvent, ModelLeg } from '@spillway/voice';
import { expect, test } from 'vitest';
import { UnreportedAnswer } from '../src/limit/unreported-answer.ts';
import { CallUsage } from '../src/voice/call-usage.ts';
import { MeteredModel } from '../src/voice/metered-model.ts';

const responseId = 'r1';
const part = { itemId: 'i1', contentIndex: 0 };
const second = new Uint8Array(8000);
const started: ModelEvent = { kind: 'responseStarted', responseId };
const spoken: ModelEvent = { kind: 'audio', responseId, part, audio: second };
const ended = (usage?: { inputTokens: number; outputTokens: number }): ModelEvent => ({
  kind: 'responseEnded',
  responseId,
  state: 'completed',
  usage,
});

/** A leg that says what the test wants, as whoever listens to it sees it. */
function metered(api: string): {
  readonly answer: UnreportedAnswer;
  readonly model: MeteredModel;
  readonly says: (...events: readonly ModelEvent[]) => void;
} {
  let tell: ((event: ModelEvent) => void) | undefined;
  const nothing = (): void => undefined;
  const leg: ModelLeg = {
    api,
    input: telephoneAudio,
    output: telephoneAudio,
    answersItself: true,
    bufferedMs: 0,
    unconfirmedMs: 0,
    listen: (listener) => void (tell = listener),
    send: nothing,
    cancel: nothing,
    truncate: nothing,
    remove: nothing,
    respond: nothing,
    tell: nothing,
    giveResult: nothing,
    close: nothing,
  };
  const answer = new UnreportedAnswer();
  const model = new MeteredModel(leg, answer);
  model.listen(nothing);
  return { answer, model, says: (...events) => events.forEach((event) => tell?.(event)) };
}

test('what a model says and hears counts until it has reported it, and its prompt has all of that', () => {
  const { answer, model, says } = metered('openai-realtime');
  says(started, ended({ inputTokens: 1000, outputTokens: 200 }));
  expect(answer.usage).toBeUndefined();
  says({ kind: 'speechStarted', atMs: 3000 }, { kind: 'speechStopped', atMs: 5000 }, started, spoken);
  // 1,200 of before, and two seconds of speech.
  expect(answer.usage).toEqual({ inputTokens: 1220, outputTokens: 20 });
  // The words of the human are written down by another model.
  says({ kind: 'used', usage: { inputTokens: 5, outputTokens: 5 } });
  expect(answer.usage).toEqual({ inputTokens: 1220, outputTokens: 20 });
  says(ended({ inputTokens: 1215, outputTokens: 44 }));
  expect(answer.usage).toBeUndefined();
  model.giveResult('c1', 'x'.repeat(400));
  expect(answer.usage).toEqual({ inputTokens: 1359, outputTokens: 0 });
});

test('Gemini reports an answer when it would have been heard, and until then it counts', () => {
  const { answer, says } = metered('gemini-live');
  says(started, spoken, spoken, ended());
  expect(answer.usage).toEqual({ inputTokens: 0, outputTokens: 40 });
  says({ kind: 'used', usage: { inputTokens: 90, outputTokens: 50 } });
  expect(answer.usage).toBeUndefined();
});

test('an answer whose session is lost stays unreported, and that of the next session is counted beside it', () => {
  const { answer, model, says } = metered('openai-realtime');
  answer.joined(100);
  says(started, spoken, { kind: 'ended', code: 'lost', message: 'It is gone.' });
  model.close();
  expect(answer.usage).toEqual({ inputTokens: 100, outputTokens: 20 });
  says(started, spoken, spoken);
  expect(answer.usage).toEqual({ inputTokens: 200, outputTokens: 60 });
  says(ended({ inputTokens: 120, outputTokens: 50 }));
  expect(answer.usage).toEqual({ inputTokens: 100, outputTokens: 20 });
});

test('of a call, too, each number of a report is believed by itself', () => {
  const usage = new CallUsage();
  usage.answer.joined(100);
  usage.answer.began();
  const report = { inputTokens: 1e300, outputTokens: 7 };
  usage.answer.ended(report, false);
  usage.saw({ kind: 'responseEnded', state: 'completed', usage: report });
  expect(usage.total).toEqual({ inputTokens: 0, outputTokens: 7 });
  expect(usage.spent).toEqual({ inputTokens: 100, outputTokens: 7 });
});
