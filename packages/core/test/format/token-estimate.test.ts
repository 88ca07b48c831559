import { describe, expect, test } from 'vitest';
import { anthropicMessages } from '../../src/format/anthropic-messages.ts';
import { gemini } from '../../src/format/gemini.ts';
import { openaiChat } from '../../src/format/openai-chat.ts';
import { openaiCompletions } from '../../src/format/openai-completions.ts';
import { openaiResponses } from '../../src/format/openai-responses.ts';
import type { EventRun } from '../../src/format/sse.ts';
import { createTokenEstimate } from '../../src/format/token-estimate.ts';
import { fixtures, formatNames, toEvents, toSse } from './fixtures.ts';

const formats = {
  'openai-chat': openaiChat,
  'openai-completions': openaiCompletions,
  'openai-responses': openaiResponses,
  'anthropic-messages': anthropicMessages,
  gemini,
};

function runOf(bytes: Uint8Array, events = 1): EventRun {
  return { bytes, byteLength: bytes.length, events };
}

function chat(delta: object): Uint8Array {
  return Buffer.from(`data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta }] })}\n\n`);
}

describe('an estimate of tokens', () => {
  const estimate = createTokenEstimate(openaiChat);

  test('a word is one, however long its event is, and a longer text is told by its bytes', () => {
    expect(estimate(runOf(chat({ content: ' the' })))).toBe(1);
    expect(estimate(runOf(chat({ content: 'internationalize' })))).toBe(1);
    expect(estimate(runOf(chat({ content: 'x'.repeat(400) })))).toBe(100);
    expect(estimate(runOf(chat({ reasoning_content: 'Hm' })))).toBe(1);
    expect(estimate(runOf(chat({ tool_calls: [{ index: 0, function: { arguments: '{"a":' } }] })))).toBe(1);
  });

  test('what brings no part of the answer counts nothing', () => {
    expect(estimate(runOf(chat({ role: 'assistant', content: '' })))).toBe(0);
    expect(estimate(runOf(chat({})))).toBe(0);
    expect(estimate(runOf(Buffer.from('data: [DONE]\n\n')))).toBe(0);
    expect(estimate(runOf(Buffer.from(': ping\n\n'), 0))).toBe(0);
    const usage = { choices: [], usage: { prompt_tokens: 900, completion_tokens: 5 } };
    expect(estimate(runOf(Buffer.from(`data: ${JSON.stringify(usage)}\n\n`)))).toBe(0);
  });

  test('a part that is no text is one', () => {
    const call = { index: 0, id: 'x', type: 'function', function: { name: 'look', arguments: '' } };
    expect(estimate(runOf(chat({ tool_calls: [call] })))).toBe(1);
  });

  test('the first and the last events of an answer that name it and repeat it count nothing', () => {
    const text = 'a long answer '.repeat(200);
    const events = [
      { type: 'response.created', response: { id: 'r', instructions: 'x'.repeat(4000), output: [] } },
      {
        type: 'response.output_text.delta',
        item_id: 'm',
        output_index: 0,
        content_index: 0,
        delta: 'Hi',
        sequence_number: 4,
      },
      {
        type: 'response.output_text.done',
        item_id: 'm',
        output_index: 0,
        content_index: 0,
        text,
        sequence_number: 5,
      },
      { type: 'response.completed', response: { id: 'r', output: [{ content: [{ text }] }] } },
    ];
    const bytes = toSse(
      'openai-responses',
      events.map((event) => JSON.stringify(event)),
    );
    expect(createTokenEstimate(openaiResponses)(runOf(bytes, 4))).toBe(1);
  });

  test.each(formatNames)('%s: of a run it is the sum of its events, and each answer has some', (format) => {
    for (const { events, name } of fixtures[format]) {
      const each = createTokenEstimate(formats[format]);
      const whole = each(runOf(toSse(format, events), events.length));
      const parts = toEvents(format, events).map((text) => each(runOf(Buffer.from(text))));
      expect(whole, name).toBe(parts.reduce((sum, tokens) => sum + tokens, 0));
    }
    const all = fixtures[format].map(({ events }) =>
      createTokenEstimate(formats[format])(runOf(toSse(format, events), events.length)),
    );
    expect(Math.max(...all)).toBeGreaterThan(3);
  });
});
