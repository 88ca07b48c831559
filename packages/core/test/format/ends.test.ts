import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Choices } from '../../src/format/choices.ts';
import { EventScanner } from '../../src/format/sse.ts';
import { formats } from '../support/formats.ts';
import type { FormatName } from './fixtures.ts';

/** Whether a stream of these payloads may end, when HTTP says that its body is whole. */
function isWhole(format: FormatName, payloads: readonly string[], size = Infinity): boolean {
  const scanner = new EventScanner({ classify: formats[format].classify });
  const bytes = new TextEncoder().encode(payloads.map((payload) => `data: ${payload}\n\n`).join(''));
  for (let at = 0; at < bytes.length; at += size) scanner.push(bytes.subarray(at, at + size), () => {});
  scanner.end(() => {});
  return scanner.hasEnded || scanner.hasFinished;
}

const chat = (index: number, reason: string, delta = '{"content":"x"}'): string =>
  `{"id":"a","choices":[{"index":${index},"delta":${delta},"finish_reason":${reason}}],"usage":null}`;
const completion = (index: number, reason: string): string =>
  `{"id":"a","choices":[{"text":"x","index":${index},"logprobs":null,"finish_reason":${reason}}]}`;
const candidate = (index: number, reason: string): string =>
  `{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":${reason},"index":${index}}]}`;
const usage = '{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}';

describe('promise 7: without a marker, an answer is whole when each choice said why it ended', () => {
  test.each<[FormatName, string, readonly string[], boolean]>([
    ['openai-chat', 'a reason', [chat(0, 'null'), chat(0, '"stop"', '{}')], true],
    ['openai-chat', 'usage behind it', [chat(0, '"stop"'), usage], true],
    [
      'openai-chat',
      'an event of the same choice behind it',
      [chat(0, '"stop"'), chat(0, 'null', '{}')],
      true,
    ],
    ['openai-chat', 'no reason', [chat(0, 'null'), usage], false],
    ['openai-chat', 'an empty reason', [chat(0, '""')], false],
    ['openai-chat', 'an empty reason, and then another', [chat(0, '""'), chat(0, '"stop"')], true],
    ['openai-chat', 'null as a text', [chat(0, '"null"')], false],
    ['openai-chat', 'a failure for a reason', [chat(0, '"error"')], false],
    ['openai-chat', 'no choice at all', [usage], false],
    ['openai-chat', 'nothing', [], false],
    ['openai-chat', 'one of two choices', [chat(0, 'null'), chat(1, 'null'), chat(1, '"stop"')], false],
    ['openai-chat', 'two of two choices', [chat(1, '"stop"'), chat(0, 'null'), chat(0, '"length"')], true],
    [
      'openai-chat',
      'two choices in one event',
      ['{"choices":[{"finish_reason":"stop","index":1},{"finish_reason":null,"index":0}]}'],
      false,
    ],
    [
      'openai-chat',
      'two choices without an index',
      ['{"choices":[{"finish_reason":"stop"},{"finish_reason":"stop"}]}'],
      true,
    ],
    [
      'openai-chat',
      'one of two choices without an index',
      ['{"choices":[{"finish_reason":"stop"},{"delta":{}}]}'],
      false,
    ],
    [
      'openai-chat',
      'a reason in a text',
      [chat(0, 'null', '{"content":"\\"finish_reason\\":\\"stop\\""}')],
      false,
    ],
    ['openai-chat', 'a reason inside of a delta', [chat(0, 'null', '{"a":{"finish_reason":"stop"}}')], false],
    ['openai-chat', 'a reason in another list', ['{"others":[{"index":0,"finish_reason":"stop"}]}'], false],
    [
      'openai-chat',
      'a list that begins somewhere else in the next event',
      [chat(0, 'null'), '{"i":"\\"choices","choices" : [{"index":0,"finish_reason" : "stop"}]}'],
      true,
    ],
    [
      'openai-chat',
      'a text where the list began before',
      [
        '{"a":1,"choices":[{"index":0}]}',
        '{"a":"\\"choices\\":[{","choices":[{"index":1,"finish_reason":"stop"}]}',
      ],
      false,
    ],
    ['openai-chat', 'one event in two lines', [chat(0, '"stop"').replace(',"usage', '\ndata:,"usage')], true],
    ['openai-completions', 'a reason', [completion(0, 'null'), completion(0, '"length"'), usage], true],
    ['openai-completions', 'one of two choices', [completion(1, 'null'), completion(0, '"stop"')], false],
    ['openai-responses', 'no marker', ['{"type":"response.output_text.done","text":"x"}'], false],
    ['openai-responses', 'a cancel', ['{"type":"response.cancelled","response":{}}'], true],
    ['openai-responses', 'done', ['{"type":"response.done","response":{"status":"completed"}}'], true],
    [
      'anthropic-messages',
      'a reason',
      ['{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{}}'],
      true,
    ],
    [
      'anthropic-messages',
      'no reason',
      [
        '{"type":"message_start","message":{"stop_reason":null}}',
        '{"type":"message_delta","delta":{"stop_reason":null}}',
      ],
      false,
    ],
    [
      'anthropic-messages',
      'the reason of something else',
      ['{"type":"x","delta":{"stop_reason":"a"}}'],
      false,
    ],
    ['gemini', 'a reason', [candidate(0, '"STOP"')], true],
    ['gemini', 'a reason as a number', [candidate(0, '1')], true],
    ['gemini', 'a reason that says nothing', [candidate(0, '"FINISH_REASON_UNSPECIFIED"')], false],
    ['gemini', 'no reason', [candidate(0, 'null')], false],
    ['gemini', 'one of two candidates', [candidate(0, 'null'), candidate(1, '"STOP"')], false],
    ['gemini', 'two of two candidates', [candidate(0, '"STOP"'), candidate(1, '"SAFETY"')], true],
    ['gemini', 'a prompt that is blocked', ['{"promptFeedback":{"blockReason":"SAFETY"}}'], true],
    [
      'gemini',
      'a reason in a text',
      ['{"candidates":[{"content":{"parts":[{"text":"\\"finishReason\\": 1"}]}}]}'],
      false,
    ],
    [
      'gemini',
      'a reason in the arguments of a call',
      ['{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"finishReason":"x"}}}]}}]}'],
      false,
    ],
  ])('%s: %s', (format, _what, payloads, expected) => {
    for (const size of [Infinity, 1, 7]) expect(isWhole(format, payloads, size)).toBe(expected);
  });

  test('whatever the order in which choices come and end', () => {
    const turn = fc.record({ index: fc.nat(4), isOver: fc.boolean(), isShort: fc.boolean() });
    const writers = { 'openai-chat': chat, 'openai-completions': completion, gemini: candidate };
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(writers) as (keyof typeof writers)[])),
        fc.array(turn, { maxLength: 12 }),
        fc.integer({ min: 1, max: 200 }),
        (format, turns, size) => {
          const seen = new Set(turns.map(({ index }) => index));
          const over = new Set(turns.filter(({ isOver }) => isOver).map(({ index }) => index));
          const payloads = turns.map(({ index, isOver, isShort }) => {
            const payload = writers[format](index, isOver ? '"stop"' : 'null');
            return isShort ? payload.replace('"id":"a",', '') : payload;
          });
          expect(isWhole(format, payloads, size)).toBe(seen.size > 0 && seen.size === over.size);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('more choices than anybody has are not counted', () => {
    const choices = (count: number): string[] => Array.from({ length: count }, (_, at) => chat(at, '"stop"'));
    expect(isWhole('openai-chat', choices(1024))).toBe(true);
    expect(isWhole('openai-chat', choices(1025))).toBe(false);
    expect(isWhole('openai-chat', [...choices(1025), '[DONE]'])).toBe(true);
  });

  test('whatever came before, a payload says what it says by itself', () => {
    const text = fc.constantFrom('', 'a', 'some words', '"}],"error":{"message":"m"}', '\\', 'null', 'stop');
    const reasonOf = fc.constantFrom(null, null, null, '', 'stop', 'null');
    const choice = fc
      .tuple(fc.nat(1), text, reasonOf, fc.boolean())
      .map(([index, content, finish_reason, isFirst]) =>
        isFirst
          ? { finish_reason, index, delta: { content } }
          : { index, delta: { content }, logprobs: null, finish_reason },
      );
    const behind = fc.constantFrom({}, {}, { usage: null }, { error: { message: 'm' } });
    const payload = fc
      .tuple(fc.array(choice, { minLength: 0, maxLength: 2 }), behind)
      .map(([choices, rest]) => ({ id: 'a', choices, ...rest }));
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 12 }), (payloads) => {
        const choices = new Choices();
        const over = new Map<number, boolean>();
        for (const each of payloads) {
          const bytes = new TextEncoder().encode(JSON.stringify(each));
          const kind = formats['openai-chat'].classify(bytes, 0, bytes.length, choices);
          expect(kind).toBe('error' in each ? 'error' : 'content');
          if (kind === 'error') continue;
          for (const { finish_reason, index } of each.choices) {
            over.set(index, over.get(index) === true || finish_reason === 'stop');
          }
          expect(choices.areOver).toBe(over.size > 0 && [...over.values()].every(Boolean));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
