import { createParser, type EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Choices } from '../src/format/choices.ts';
import { createCoalesce } from '../src/format/coalesce.ts';
import type { FormatName } from '../src/format/format.ts';
import type { EventRun } from '../src/format/sse.ts';
import { formats } from './support/formats.ts';
import { checkProperty } from './support/property.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function parse(bytes: Uint8Array): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  createParser({ onEvent: (event) => events.push(event) }).feed(decoder.decode(bytes));
  return events;
}

function run(text: string): EventRun {
  const bytes = encoder.encode(text);
  return { bytes, byteLength: bytes.length, events: text.split('data:').length - 1 };
}

describe('a payload', () => {
  test.each<[FormatName, string, string]>([
    ['openai-chat', '[DONE]', 'end'],
    ['openai-chat', '[DONE] ', 'end'],
    ['openai-chat', '[DONE]x', 'content'],
    ['openai-chat', '[1]', 'content'],
    ['openai-chat', '{"error":{"message":"m"}}', 'error'],
    ['openai-chat', '{"error": {"message":"m"}}', 'error'],
    ['openai-chat', '{"error":null,"choices":[]}', 'content'],
    ['openai-chat', '{"errors":1}', 'content'],
    ['openai-chat', '{"id":"x","error":{}}', 'error'],
    ['openai-chat', '{"id":"x","error":"","choices":[]}', 'content'],
    ['openai-chat', '{"error":false,"choices":[]}', 'content'],
    ['openai-chat', '{"error":0,"choices":[]}', 'content'],
    ['openai-chat', '{"error":true}', 'error'],
    ['openai-chat', '{"error":500}', 'error'],
    ['openai-chat', '{"error":[]}', 'error'],
    ['openai-chat', '{"error":{}}', 'error'],
    ['openai-chat', '{"error":false}', 'content'],
    ['openai-chat', ' { "error" : {"message":"m"}}', 'error'],
    ['openai-chat', '{"id":"x","choices":[{"finish_reason":"error"}],"error":{"code":502}}', 'error'],
    ['openai-chat', '{"id":"x","choices":[{"finish_reason":"error"}]}', 'content'],
    ['openai-chat', '{"choices":[{"delta":{"content":"{\\"error\\":{}}","error":{"a":1}}}]}', 'content'],
    ['openai-chat', '{"object":"error","message":"m","code":400}', 'error'],
    ['openai-chat', '{"type":"error"}', 'error'],
    ['openai-chat', '[{"error":{"code":503}}]', 'error'],
    ['openai-chat', '{"detail":"m"}', 'complaint'],
    ['openai-chat', '{"detail":[{"loc":["body"],"msg":"m"}]}', 'complaint'],
    ['openai-chat', '{"message":"m"}', 'complaint'],
    ['openai-chat', '{"success":false,"errors":[{"message":"m"}]}', 'complaint'],
    ['openai-chat', '{"errors":[],"detail":null,"message":""}', 'content'],
    ['openai-chat', '{"message":{"role":"assistant","content":"x"}}', 'content'],
    ['openai-chat', '{"message":"m","choices":[]}', 'content'],
    ['openai-chat', '{"usage":{"message":"m"}}', 'content'],
    ['openai-completions', '{"detail":"m"}', 'complaint'],
    ['openai-chat', '', 'content'],
    ['openai-completions', '[DONE]', 'end'],
    ['openai-responses', '{"type":"response.completed","response":{}}', 'end'],
    ['openai-responses', '{ "response" : {"type":"x"} , "type" : "response.incomplete" }', 'end'],
    ['openai-responses', '{"type":"response.failed"}', 'error'],
    ['openai-responses', '{"type":"error","message":"m"}', 'error'],
    ['openai-responses', '{"item":{"type":"error"},"type":"response.output_item.done"}', 'content'],
    ['openai-responses', '{"delta":"\\"type\\":\\"error\\"","type":"response.output_text.delta"}', 'content'],
    ['openai-responses', '{"delta":"type","type":"response.completed"}', 'end'],
    ['openai-responses', '[{"type":"error"}]', 'error'],
    ['openai-responses', '{"error":{"message":"m"}}', 'error'],
    ['openai-responses', '{"type":"BadRequestError","object":"error","message":"m"}', 'error'],
    ['openai-responses', '{"type":"invalid_request_error","message":"m"}', 'complaint'],
    ['openai-responses', '{"type":"response.created","error":{"message":"m"}}', 'content'],
    ['openai-responses', '{"type":"resp","detail":"m"}', 'complaint'],
    ['openai-responses', '{"type":', 'content'],
    ['anthropic-messages', '{"type":"message_stop"           }', 'end'],
    ['anthropic-messages', '{"type":"error","error":{"type":"overloaded_error"}}', 'error'],
    ['anthropic-messages', '{"type":"message_delta","usage":{}}', 'content'],
    ['anthropic-messages', '{"type":"message_start","message":{}}', 'content'],
    ['anthropic-messages', '{"type":"ping"}', 'content'],
    ['anthropic-messages', '{"error":{"message":"m"}}', 'error'],
    ['anthropic-messages', '{"detail":"m"}', 'complaint'],
    ['openai-responses', '{"type":"response.cancelled","response":{}}', 'end'],
    ['openai-responses', '{"type":"response.done","response":{"status":"completed"}}', 'end'],
    ['openai-responses', '{"type":"response.done","response":{"status":"failed"}}', 'error'],
    ['openai-responses', '{"type":"response.done","a":{"status":"failed"}}', 'end'],
    ['gemini', '{"candidates":[{"finishReason": "STOP"}]}', 'content'],
    ['gemini', '{"error":{"code":503}}', 'error'],
    ['gemini', '[{"error":{"code":503}}]', 'error'],
    ['gemini', '{"candidates":[],"error":{"code":503}}', 'error'],
    ['gemini', '{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"error":{}}}}]}}]}', 'content'],
    ['gemini', '{"detail":"m"}', 'complaint'],
  ])('of %s: %s is %s', (format, payload, kind) => {
    const bytes = encoder.encode(`data: ${payload}\n`);
    expect(formats[format].classify(bytes, 6, bytes.length - 1, new Choices())).toBe(kind);
  });

  test.each<[FormatName, unknown, boolean, { inputTokens?: number; outputTokens?: number } | undefined]>([
    [
      'openai-chat',
      { choices: [{ delta: { role: 'assistant', content: '' } }], usage: null },
      false,
      undefined,
    ],
    ['openai-chat', { choices: [{ delta: { reasoning: 'x' } }] }, true, undefined],
    [
      'openai-chat',
      { choices: [{ delta: { role: 'assistant', content: null, index: 0, tool_calls: [], refusal: null } }] },
      false,
      undefined,
    ],
    ['openai-chat', { choices: [{ delta: { tool_calls: [{ function: { name: 'f' } }] } }] }, true, undefined],
    ['openai-chat', { choices: [{ delta: { audio: { data: 'AA==' } } }] }, true, undefined],
    ['openai-chat', { error: { message: 'overloaded' } }, false, undefined],
    [
      'openai-chat',
      { choices: [], usage: { prompt_tokens: 3, completion_tokens: 5 } },
      false,
      { inputTokens: 3, outputTokens: 5 },
    ],
    ['openai-completions', { choices: [{ text: 'x' }] }, true, undefined],
    ['openai-responses', { type: 'response.output_text.delta', delta: 'x' }, true, undefined],
    ['openai-responses', { type: 'response.output_text.delta', delta: '' }, false, undefined],
    ['openai-responses', { type: 'response.created', response: { output: [] } }, false, undefined],
    ['openai-responses', { type: 'response.output_item.added', item: { type: 'message' } }, false, undefined],
    [
      'openai-responses',
      { type: 'response.output_item.added', item: { type: 'reasoning' } },
      false,
      undefined,
    ],
    [
      'openai-responses',
      { type: 'response.output_item.added', item: { type: 'function_call', name: 'f' } },
      true,
      undefined,
    ],
    ['openai-responses', { type: 'response.output_item.done', item: { type: 'message' } }, true, undefined],
    [
      'openai-responses',
      { type: 'response.image_generation_call.partial_image', partial_image_b64: 'AA==' },
      true,
      undefined,
    ],
    [
      'openai-responses',
      { type: 'response.completed', response: { usage: { input_tokens: 3, output_tokens: 5 } } },
      false,
      { inputTokens: 3, outputTokens: 5 },
    ],
    [
      'anthropic-messages',
      { type: 'message_start', message: { usage: { input_tokens: 3, output_tokens: 1 } } },
      false,
      { inputTokens: 3 },
    ],
    [
      'anthropic-messages',
      { type: 'message_delta', usage: { output_tokens: 5 } },
      false,
      { outputTokens: 5 },
    ],
    ['anthropic-messages', { type: 'content_block_delta', delta: {} }, true, undefined],
    ['anthropic-messages', { type: 'ping' }, false, undefined],
    [
      'anthropic-messages',
      { type: 'content_block_start', content_block: { type: 'text', text: '' } },
      false,
      undefined,
    ],
    [
      'anthropic-messages',
      { type: 'content_block_start', content_block: { type: 'tool_use', name: 'f', input: {} } },
      true,
      undefined,
    ],
    ['gemini', { candidates: [{ content: { parts: [{ text: 'x' }] } }] }, true, undefined],
    ['gemini', { candidates: [{ content: { parts: [{ text: '', thought: true }] } }] }, false, undefined],
    ['gemini', { candidates: [{ content: { parts: [{ inlineData: { data: 'AA==' } }] } }] }, true, undefined],
    [
      'gemini',
      { usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 5, thoughtsTokenCount: 2 } },
      false,
      { inputTokens: 3, outputTokens: 7 },
    ],
    [
      'gemini',
      { usageMetadata: { promptTokenCount: 3, thoughtsTokenCount: 200 } },
      false,
      { inputTokens: 3, outputTokens: 200 },
    ],
    ['gemini', 'nonsense', false, undefined],
  ])('of %s says what it carries: %j', (format, payload, hasContent, usage) => {
    expect(formats[format].hasContent(payload)).toBe(hasContent);
    expect(formats[format].usage(payload)).toEqual(usage);
  });

  test('counts reasoning once, whether the tokens of the answer have it in them or beside them', () => {
    const outputOf = (output: number, reasoning: number, total: number): number | undefined =>
      formats['openai-chat'].usage({
        usage: {
          prompt_tokens: 12,
          completion_tokens: output,
          total_tokens: total,
          completion_tokens_details: { reasoning_tokens: reasoning },
        },
      })?.outputTokens;
    expect(outputOf(300, 256, 312)).toBe(300);
    expect(outputOf(2, 340, 354)).toBe(342);
    // A total that says neither.
    expect(outputOf(2, 340, 20)).toBe(2);
    expect(outputOf(2, -1, 13)).toBe(2);
  });

  test('of Anthropic has the prompt in three numbers, and others in one', () => {
    const { 'anthropic-messages': messages, gemini, ...openai } = formats;
    const cached = { input_tokens: 4, cache_creation_input_tokens: 30_000, cache_read_input_tokens: 100_000 };
    expect(messages.usage({ type: 'message_start', message: { usage: cached } })?.inputTokens).toBe(130_004);
    expect(messages.usage({ usage: { ...cached, output_tokens: 5 } })).toEqual({
      inputTokens: 130_004,
      outputTokens: 5,
    });
    const none = { input_tokens: 4, cache_creation_input_tokens: null };
    expect(messages.usage({ usage: none })?.inputTokens).toBe(4);
    // Whoever says that a part is −1 has not said the sum.
    expect(messages.usage({ usage: { ...none, cache_read_input_tokens: -1 } })?.inputTokens).toBeUndefined();
    const chat = { prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 5 } };
    expect(openai['openai-chat'].usage({ usage: chat })?.inputTokens).toBe(9);
    const response = { input_tokens: 9, input_tokens_details: { cached_tokens: 5 } };
    expect(openai['openai-responses'].usage({ response: { usage: response } })?.inputTokens).toBe(9);
    const metadata = { promptTokenCount: 9, cachedContentTokenCount: 5 };
    expect(gemini.usage({ usageMetadata: metadata })?.inputTokens).toBe(9);
  });

  test.each([1.5, -1, 1e16, Number('1e400'), Number.NaN, '7', null])(
    'that reports %s tokens has reported none, in each format',
    (count) => {
      const usage = { inputTokens: undefined, outputTokens: undefined };
      const openai = { usage: { prompt_tokens: count, completion_tokens: count } };
      expect(formats['openai-chat'].usage(openai)).toEqual(usage);
      const other = { usage: { input_tokens: count, output_tokens: count } };
      expect(formats['openai-responses'].usage(other)).toEqual(usage);
      expect(formats['anthropic-messages'].usage(other)).toEqual(usage);
      const gemini = { promptTokenCount: count, candidatesTokenCount: count };
      expect(formats.gemini.usage({ usageMetadata: gemini })).toEqual(usage);
      const thoughts = { candidatesTokenCount: 5, thoughtsTokenCount: count };
      // A sum of which a part is not known is not known. What is not there, there is nothing of.
      const known = count === null ? 5 : undefined;
      expect(formats.gemini.usage({ usageMetadata: thoughts })?.outputTokens).toBe(known);
    },
  );
});

describe.each(Object.values(formats))('an error in $name', (format) => {
  test.each([400, 401, 403, 404, 413, 429, 499, 500, 502, 503, 504])(
    'of status %i is one event, whatever is in it',
    (status) => {
      const error = { message: 'a\n\ndata: [DONE]\r\n\r\n\u2028', code: 'x\ny', status };
      const events = parse(format.errorEvent(error));
      expect(events).toHaveLength(1);
      const payload = encoder.encode(events[0]?.data);
      expect(format.classify(payload, 0, payload.length, new Choices())).toBe('error');
      expect(JSON.stringify(JSON.parse(format.errorBody(error)))).toContain(JSON.stringify(error.message));
    },
  );
});

describe('merging', () => {
  const chat = createCoalesce(formats['openai-chat'].delta);
  const delta = (fields: string): string => `data: {"choices":[{"delta":{${fields}}}],"created":1}\n\n`;

  test.each([
    ['text', '"content":"a"', '"content":"b"', '"content":"ab"'],
    ['text that was empty', '"content":""', '"content":"b"', '"content":"b"'],
    ['escapes as they were', '"content":"\\u0041\\n"', '"content":"\\/\\""', '"content":"\\u0041\\n\\/\\""'],
    [
      'the arguments of one call',
      '"tool_calls":[{"index":1,"function":{"arguments":"{\\"a"}}]',
      '"tool_calls":[{"index":1,"function":{"arguments":"\\":1}"}}]',
      '"tool_calls":[{"index":1,"function":{"arguments":"{\\"a\\":1}"}}]',
    ],
  ])('joins %s', (_what, first, second, merged) => {
    expect(decoder.decode(chat(run(delta(first)), run(delta(second)))?.bytes)).toBe(delta(merged));
  });

  test('the later one replaces what is not part of the answer', () => {
    const first = run('data: {"choices":[{"delta":{"content":"a"}}],"created":1,"obfuscation":"xyz"}\n\n');
    const second = run('data: {"choices":[{"delta":{"content":"b"}}],"created":2,"obfuscation":""}\n\n');
    expect(decoder.decode(chat(first, second)?.bytes)).toBe(
      'data: {"choices":[{"delta":{"content":"ab"}}],"created":2,"obfuscation":""}\n\n',
    );
  });

  test('log probabilities are listed one behind the other', () => {
    const event = (text: string, items: string): EventRun =>
      run(
        `data: {"choices":[{"delta":{"content":"${text}"},"logprobs":{"content":[${items}],"refusal":null}}]}\n\n`,
      );
    const three = [
      event('a', '{"t":1}'),
      event('b', '{"t":2},{"t":3}'),
      event('', ''),
      event('c', '{"t":4}'),
    ].reduce((merged, next) => chat(merged, next) ?? run('data: refused\n\n'));
    expect(JSON.parse(decoder.decode(three.bytes).slice(6))).toEqual({
      choices: [
        {
          delta: { content: 'abc' },
          logprobs: { content: [{ t: 1 }, { t: 2 }, { t: 3 }, { t: 4 }], refusal: null },
        },
      ],
    });
  });

  test.each([
    ['what may add up', '"content":"a","x":[198]', '"content":"a","x":[198]'],
    ['another field', '"content":"a"', '"content":"b","x":1'],
    ['another value of one that nobody knows', '"content":"a","x":1', '"content":"b","x":2'],
    [
      'other calls',
      '"tool_calls":[{"index":0,"function":{"arguments":"a"}}]',
      '"tool_calls":[{"index":1,"function":{"arguments":"b"}}]',
    ],
    [
      'two calls in one event',
      '"tool_calls":[{"index":0},{"index":1}]',
      '"tool_calls":[{"index":0},{"index":1}]',
    ],
    [
      'a call that begins',
      '"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]',
      '"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]',
    ],
    ['text and reasoning', '"content":"a","reasoning":""', '"content":"","reasoning":"b"'],
    ['two texts at once', '"content":"a","refusal":"x"', '"content":"b","refusal":"y"'],
    ['half a character', '"content":"\\ud83d"', '"content":"\\ude00"'],
    ['null and text', '"content":null', '"content":"b"'],
    ['a list as text', '"content":["a"]', '"content":["a"]'],
    ['no text at all', '"x":1', '"x":1'],
    ['a key that could be another', '"c\\u006fntent":"a"', '"c\\u006fntent":"a"'],
    ['keys that some SDKs refuse', '"content":"a","__proto__":{}', '"content":"b","__proto__":{}'],
    ['what is no JSON', '"content":"a', '"content":"a'],
    ['what is no JSON any more', '"content":"a"}', '"content":"a"}'],
  ])('refuses %s', (_what, first, second) => {
    expect(chat(run(delta(first)), run(delta(second)))).toBeUndefined();
  });

  test.each([
    ['an escape', encoder.encode('\\ud83d'), encoder.encode('\\ude42')],
    ['bytes', encoder.encode('🙂').subarray(0, 2), encoder.encode('🙂').subarray(2)],
  ])('refuses half a character as %s, whatever was merged with either half', (_what, first, second) => {
    const event = (text: Uint8Array): EventRun => {
      const [head = '', tail = ''] = delta('"content":"|"').split('|');
      const bytes = Uint8Array.from([...encoder.encode(head), ...text, ...encoder.encode(tail)]);
      return { bytes, byteLength: bytes.length, events: 1 };
    };
    const [empty, letter] = [event(encoder.encode('')), event(encoder.encode('a'))];
    const merged = (one: EventRun, other: EventRun): EventRun => {
      const both = chat(one, other);
      if (both === undefined) throw new Error('These can be merged.');
      return both;
    };
    const befores = [event(first), merged(letter, event(first)), merged(event(first), empty)];
    const laters = [event(second), merged(event(second), letter), merged(empty, event(second))];
    for (const before of befores) {
      for (const later of laters) {
        expect(chat(before, later)).toBeUndefined();
        expect(chat.all?.([before, later], () => true)).toHaveLength(2);
      }
    }
  });

  test('refuses events with more than a name and one line of data', () => {
    const plain = delta('"content":"a"');
    for (const extra of ['id: 1\n', ': x\n', 'retry: 1\n', 'data: x\n', 'event: x\n']) {
      expect(chat(run(plain), run(extra + plain))).toBeUndefined();
    }
    expect(chat(run(`event: x\n${plain}`), run(`event: x\n${plain}`))).toBeDefined();
  });

  test('leaves what it merges as it was, for others who have it too', () => {
    const letter = (text: string): EventRun => run(delta(`"content":"${text}"`));
    const join = (...runs: readonly EventRun[]): EventRun =>
      runs.reduce((first, next) => chat(first, next) ?? first);
    const ab = join(letter('a'), letter('b'));
    const abc = join(ab, letter('c'));
    const abd = join(ab, letter('d'));
    const abcx = join(abc, letter('x'));
    const abdx = join(abd, letter('x'));
    expect([ab, abc, abd, abcx, abdx].map(({ bytes }) => decoder.decode(bytes))).toEqual(
      ['ab', 'abc', 'abd', 'abcx', 'abdx'].map((text) => delta(`"content":"${text}"`)),
    );
  });

  test('an event has a limit, and what is beyond it is the next one', () => {
    const small = createCoalesce(formats['openai-chat'].delta, { maxEventBytes: 70 });
    const all = (letters: string): EventRun =>
      run(
        Array.from(letters)
          .map((letter) => delta(`"content":"${letter}"`))
          .join(''),
      );
    const merged = small(all('abcdefghijklm'), all('nopqrstuvwxyz')) ?? run('');
    const events = parse(merged.bytes).map(({ data }) => data);
    expect(events.every((data) => data.length <= 62)).toBe(true);
    expect(events.length).toBeGreaterThan(1);
    expect(events.join('').replaceAll(/[^]*?"content":"([a-z]*)"[^{]*/g, '$1')).toBe(
      'abcdefghijklmnopqrstuvwxyz',
    );
    expect(merged.events).toBe(events.length);
  });

  test('never throws and never loses a byte of what it does not know, whatever comes', async () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from('{}[]":,\\ntu0 \r\n')) });
    const payload = fc.oneof(
      text,
      fc.json(),
      fc.json().map((value) => `{"choices":[{"delta":{"content":"a","x":${value}}}]}`),
    );
    await checkProperty(
      'merging: whatever comes',
      fc.asyncProperty(payload, payload, async (first, second) => {
        const [a, b] = [`data: ${first}\n\n`, `data: ${second}\n\n`];
        const merged = chat(run(a), run(b));
        if (merged === undefined) return;
        const before = parse(encoder.encode(a + b));
        const after = parse(merged.bytes);
        expect(after.length).toBe(before.length - 1);
        expect(after.map(({ data }) => data).join('')).toContain('"content":"aa"');
      }),
    );
  });

  test('a hostile stream costs little: 8 MB in one line, a hundred thousand events, deep nesting', () => {
    const long = run(delta(`"content":"${'x'.repeat(8_000_000)}"`));
    expect(chat(long, long)).toBeUndefined();
    const deep = `{"choices":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(chat(run(`data: ${deep}\n\n`), run(`data: ${deep}\n\n`))).toBeUndefined();
    const many = run('data: 1\n\n'.repeat(100_000));
    expect(chat(many, many)).toBeUndefined();
    const deltas = run(delta('"content":"x"').repeat(50_000));
    expect(chat(deltas, deltas)?.byteLength).toBeLessThan(200_000);
  });
});
