import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fixtures, formatNames, toSse } from '../../../core/test/format/fixtures.ts';
import { formats } from '../../../core/test/support/formats.ts';
import { checkProperty } from '../../../core/test/support/property.ts';
import type { ContentFilter, ContentOptions } from '../../src/tap/content/content-filter.ts';
import { createContentFilter } from '../../src/tap/content/content-filter.ts';
import { redactText } from '../../src/tap/content/redactor.ts';
import { allRules } from './examples.ts';
import { formatList, keep, runOf, runsOf, streamOf } from './streams.ts';

function bodyFilter(options: Partial<ContentOptions>): ContentFilter {
  const filter = createContentFilter(undefined, {
    content: 'full',
    redact: allRules,
    maxHeldBytes: 65_536,
    ...options,
  });
  if (filter === undefined) throw new Error('Expected a filter.');
  return filter;
}

test('where there is nothing to do there is no filter', () => {
  for (const format of [...formatList, undefined])
    expect(createContentFilter(format, { content: 'full', redact: [], maxHeldBytes: 1 })).toBeUndefined();
  // Bodies are not shed.
  expect(
    createContentFilter(undefined, { content: 'full', shed: ['logprobs'], maxHeldBytes: 1 }),
  ).toBeUndefined();
});

describe('a body that is no stream of events', () => {
  const body = JSON.stringify({
    id: 'x',
    choices: [{ message: { content: 'to ada@example.com', role: 'assistant' } }],
    n: 1,
  });
  const parts = (text: string | Uint8Array): ReturnType<typeof runOf>[] => {
    const bytes = Buffer.from(text);
    return Array.from({ length: Math.ceil(bytes.length / 7) }, (_, index) => {
      const part = bytes.subarray(index * 7, index * 7 + 7);
      return { bytes: part, byteLength: part.length, events: 0 };
    });
  };

  test('is redacted as JSON', () => {
    const result = keep(bodyFilter({}), parts(body));
    expect(new TextDecoder().decode(result.bytes)).toBe(body.replace('ada@example.com', '[email]'));
    expect(result).toMatchObject({ redacted: 1, omittedBytes: 0 });
  });

  test('is redacted as text where it is none', () => {
    const result = keep(bodyFilter({}), parts('ada@example.com\n{"x":'));
    expect(new TextDecoder().decode(result.bytes)).toBe('[email]\n{"x":');
  });

  test.each([1, 2, 7, 1000])('is redacted as it comes where readers wait, in pieces of %d', (size) => {
    const text = JSON.stringify({
      ...(JSON.parse(body) as object),
      'a\u20ac': 'é ada@example.com',
      'ada@example.com': ['4111 1111 1111 1111', '4111'],
      n: 4_111_111_111_111_111,
    });
    const bytes = Buffer.from(text);
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => {
      const part = bytes.subarray(index * size, index * size + size);
      return { bytes: part, byteLength: part.length, events: 0 };
    });
    const options = { passingBytes: 65_536, maxHeldBytes: 4096 };
    const passing = keep(bodyFilter(options), pieces);
    const whole = keep(bodyFilter({}), pieces);
    expect(new TextDecoder().decode(passing.bytes)).toBe(new TextDecoder().decode(whole.bytes));
    expect(passing.redacted).toBe(whole.redacted);
    expect(whole.redacted).toBe(5);
  });

  test('is kept as it comes up to its bound, and as long as it is text', () => {
    const large = keep(bodyFilter({ passingBytes: 40 }), parts(`${'x'.repeat(33)} ada@example.com`));
    expect(new TextDecoder().decode(large.bytes)).toBe(`${'x'.repeat(33)} `);
    expect(large.omittedBytes).toBe(15);
    const binary = keep(bodyFilter({ passingBytes: 40 }), parts(Buffer.from([0x61, 0xff, 0x61])));
    expect(binary).toMatchObject({ bytes: Buffer.alloc(0), omittedBytes: 3 });
    const filter = bodyFilter({ passingBytes: 1000 });
    filter.take(runOf('it is '));
    filter.take(runOf('ada@'));
    filter.take(runOf('example'));
    expect(filter.heldSince).toBe(1);
    filter.take(runOf('.com, and '));
    filter.take(runOf('so on. '));
    expect(filter.heldSince).toBeUndefined();
  });

  test('is not kept where it is no text, or too large', () => {
    expect(keep(bodyFilter({}), parts(Buffer.from([0xff, 0xfe, 0x61])))).toMatchObject({ omittedBytes: 3 });
    const large = keep(bodyFilter({ maxHeldBytes: body.length - 1 }), parts(body));
    expect(large).toMatchObject({ bytes: Buffer.alloc(0), omittedBytes: body.length, redacted: 0 });
    expect(keep(bodyFilter({ maxHeldBytes: body.length }), parts(body)).omittedBytes).toBe(0);
  });

  test('is held back from its first part, and no more once it is too large', () => {
    const filter = bodyFilter({ maxHeldBytes: 10 });
    expect(filter.heldSince).toBeUndefined();
    filter.take(runOf('12345'));
    filter.take(runOf('67890'));
    expect(filter.heldSince).toBe(0);
    filter.take(runOf('1'));
    expect(filter.heldSince).toBeUndefined();
  });

  test('may be changed by who gave it, once it is taken', () => {
    const filter = bodyFilter({});
    const run = runOf('"ada@example.com"');
    filter.take(run);
    run.bytes.fill(0x20);
    expect(new TextDecoder().decode(filter.flush().bytes)).toBe('"[email]"');
  });

  test.each([
    [
      'openai-chat',
      '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi a@b.cc","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}',
      { 'choices.0.content': 'hi [email]', 'choices.0.tool_calls.0.arguments': '{}' },
    ],
    ['openai-completions', '{"choices":[{"index":0,"text":"hi"}]}', { 'choices.0.text': 'hi' }],
    [
      'openai-responses',
      '{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"why"}]},{"type":"message","content":[{"type":"output_text","text":"hi"}]},{"type":"function_call","arguments":"{}","name":"f"}]}',
      {
        'output.0.0.reasoning_summary_text': 'why',
        'output.1.0.output_text': 'hi',
        'output.2.function_call_arguments': '{}',
      },
    ],
    [
      'anthropic-messages',
      '{"content":[{"type":"thinking","thinking":"why","signature":"s"},{"type":"text","text":"hi"}]}',
      { 'content.0.thinking': 'why', 'content.1.text': 'hi' },
    ],
    [
      'gemini',
      '[{"candidates":[{"content":{"parts":[{"text":"why","thought":true},{"text":"h"}]}}]},{"candidates":[{"content":{"parts":[{"text":"i"}]}}]}]',
      { 'candidates.0.thought': 'why', 'candidates.0.text': 'hi' },
    ],
  ])('has the texts of %s', (_name, text, expected) => {
    const result = keep(bodyFilter({ content: 'text' }), [runOf(text)]);
    expect(result.text).toEqual(expected);
    expect(result.bytes).toHaveLength(0);
  });

  test('without texts is not kept as text', () => {
    expect(keep(bodyFilter({ content: 'text' }), [runOf('no JSON')])).toMatchObject({
      omittedBytes: 7,
      text: {},
    });
  });
});

describe('the texts of a stream', () => {
  test.each(formatNames)('of %s are its answer', (name) => {
    const [fixture] = fixtures[name];
    const text = fixture?.expects[0] ?? '';
    for (const redact of [[], allRules]) {
      const filter = createContentFilter(formats[name], { content: 'text', redact, maxHeldBytes: 65_536 });
      if (filter === undefined || fixture === undefined) throw new Error('Expected a filter.');
      const result = keep(filter, runsOf(formats[name], toSse(name, fixture.events), []));
      expect(Object.values(result.text)).toContain(text);
      expect(result).toMatchObject({ bytes: Buffer.alloc(0), events: 0 });
    }
  });

  test('are redacted, and end at the end', () => {
    const stream = streamOf('openai-chat', 'arguments', ['{"to":"ada@', 'exam', 'ple.com"}']) ?? '';
    const filter = createContentFilter(formats['openai-chat'], {
      content: 'text',
      redact: allRules,
      maxHeldBytes: 65_536,
    });
    if (filter === undefined) throw new Error('Expected a filter.');
    const result = keep(filter, runsOf(formats['openai-chat'], Buffer.from(stream), []));
    expect(result.text).toEqual({ 'choices.0.tool_calls.0.arguments': '{"to":"[email]"}' });
    expect(result.redacted).toBe(1);
  });
});

/** Values that a provider never sent. */
const odd = fc.oneof(
  fc.json(),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '[DONE]',
    '',
    '{"choices":',
    '{"choices":{"0":1}}',
    '{"choices":[null,1,[],{"delta":"a@b.cc"}]}',
    '{"type":"response.output_text.delta"}',
  ),
  fc
    .tuple(
      fc.constantFrom(
        'delta',
        'content',
        'text',
        'thinking',
        'parts',
        'candidates',
        'choices',
        'logprobs',
        'usage',
        'error',
        'item',
        'response',
        'content_block',
      ),
      fc.constantFrom(
        'delta',
        'content',
        'text',
        'parts',
        'index',
        'finish_reason',
        'tool_calls',
        'arguments',
        'type',
        'output',
      ),
      fc.constantFrom<unknown>(
        'ada@example.com',
        'word',
        null,
        1,
        [],
        {},
        [{ text: 'a@b.cc' }],
        'response.done',
        'content_block_delta',
      ),
      fc.constantFrom(
        'response.output_text.delta',
        'content_block_start',
        'content_block_stop',
        'error',
        'x.done',
      ),
    )
    .map(([outer, inner, value, type]) =>
      JSON.stringify({ type, [outer]: [{ [inner]: value, delta: { [inner]: value } }], delta: value }),
    ),
);

test('whatever comes as events, nothing is thrown, nothing leaks, and nothing is left when all is over', async () => {
  await checkProperty(
    'content filter: any events',
    fc.property(
      fc.constantFrom(...formatNames),
      fc.array(odd, { maxLength: 8 }),
      fc.constantFrom<'full' | 'text'>('full', 'text'),
      fc.boolean(),
      (name, payloads, content, isShedding) => {
        const filter = createContentFilter(formats[name], {
          content,
          redact: allRules,
          shed: ['logprobs', 'reasoning', 'usage-details'],
          maxHeldBytes: 100,
        });
        if (filter === undefined) throw new Error('Expected a filter.');
        filter.isShedding = isShedding;
        const runs = payloads.map((data) => runOf(`data: ${data.replaceAll(/[\r\n]/g, ' ')}\n\n`));
        const result = keep(filter, runs);
        expect(filter.heldSince).toBeUndefined();
        for (const text of [new TextDecoder().decode(result.bytes), ...Object.values(result.text)])
          expect(text).not.toMatch(/ada@example\.com|a@b\.cc/);
        expect(filter.flush()).toMatchObject({ bytes: new Uint8Array(0), redacted: 0 });
      },
    ),
    1500,
  );
});

test('a huge event costs time by its size', () => {
  const filter = createContentFilter(formats['openai-chat'], {
    content: 'full',
    redact: allRules,
    maxHeldBytes: 65_536,
  });
  const text = 'word ada@example.com '.repeat(100_000);
  const bytes = filter?.take(
    runOf(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text } }] })}\n\n`),
  ).bytes;
  const said = new TextDecoder().decode(bytes) + new TextDecoder().decode(filter?.flush().bytes);
  expect(said).not.toContain('@');
  expect(redactText(text, allRules).redacted).toBe(100_000);
});
