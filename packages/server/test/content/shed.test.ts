import { describe, expect, test } from 'vitest';
import { accumulators } from '../../../core/test/format/accumulate.ts';
import {
  type Fixture,
  fixtures,
  type FormatName,
  formatNames,
  toEvents,
} from '../../../core/test/format/fixtures.ts';
import { formats } from '../../../core/test/support/formats.ts';
import type { ContentFilter, KeptContent } from '../../src/tap/content/content-filter.ts';
import { createContentFilter } from '../../src/tap/content/content-filter.ts';
import { type ShedPart, shedParts } from '../../src/tap/content/shed-parts.ts';
import { allRules } from './examples.ts';
import { payloadsOf, runOf } from './streams.ts';

function shedding(name: FormatName, shed: readonly ShedPart[], redacts = false): ContentFilter {
  const redact = redacts ? { redact: allRules } : {};
  const filter = createContentFilter(formats[name], {
    content: 'full',
    shed,
    maxHeldBytes: 65_536,
    ...redact,
  });
  if (filter === undefined) throw new Error('Expected a filter.');
  return filter;
}

const cases = formatNames.flatMap((format): [FormatName, string, Fixture][] =>
  fixtures[format].map((fixture) => [format, fixture.name, fixture]),
);

/** The official SDKs: those that throw for a stream that is not as they expect. */
const official: Record<FormatName, readonly string[]> = {
  'openai-chat': ['openaiChat'],
  'openai-responses': ['openaiResponses'],
  'openai-completions': ['openaiCompletions'],
  'anthropic-messages': ['anthropicMessages', 'anthropicBetaMessages'],
  gemini: ['geminiChunks', 'geminiChat'],
};

/** What the official SDKs end with: an answer, or the same error as without shedding. */
async function endings(name: FormatName, bytes: Uint8Array): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const reader of official[name]) {
    const result = JSON.parse(JSON.stringify((await accumulators[name][reader]?.(bytes)) ?? null)) as unknown;
    all.push(
      /"(?:name|message)":"[^"]*(?:Error|missing|Invalid)[^"]*"/.exec(JSON.stringify(result))?.[0] ?? 'read',
    );
  }
  return all;
}

describe('what is left is read by the official SDKs', () => {
  test.each([
    ['openai-responses', 'response.output_item.added'],
    ['anthropic-messages', 'content_block_start'],
  ] as const)('which notice if %s lacks an event: %s', async (name, type) => {
    const events = toEvents(name, fixtures[name][0]?.events ?? []);
    const without = events.filter((event) => !event.includes(`event: ${type}`));
    expect(without.length).toBeLessThan(events.length);
    expect(await endings(name, Buffer.from(without.join('')))).not.toEqual(
      await endings(name, Buffer.from(events.join(''))),
    );
  });

  test.each(cases)('%s: %s', async (name, _name, fixture) => {
    const events = toEvents(name, fixture.events, fixture.isCut);
    const before = await endings(name, Buffer.from(events.join('')));
    for (const redacts of [false, true]) {
      // From the start, from the middle, and up to the middle.
      for (const [from, to] of [
        [0, 1],
        [0, 0.5],
        [0.3, 1],
        [0.5, 0.6],
      ].map((part) => part.map((one) => one * events.length))) {
        const filter = shedding(name, shedParts, redacts);
        const kept = events.map((event, index) => {
          filter.isShedding = index >= (from ?? 0) && index < (to ?? 0);
          return filter.take(runOf(event)).bytes;
        });
        kept.push(filter.flush().bytes);
        expect(await endings(name, Buffer.concat(kept)), `from ${from} to ${to}`).toEqual(before);
      }
    }
  });
});

function shedAll(
  name: FormatName,
  fixtureName: string,
  parts: readonly ShedPart[],
): { all: KeptContent[]; text: string } {
  const fixture = fixtures[name].find((one) => one.name === fixtureName);
  if (fixture === undefined) throw new Error(`There is no fixture ${fixtureName}.`);
  const filter = shedding(name, parts);
  filter.isShedding = true;
  const all = [...toEvents(name, fixture.events).map((event) => filter.take(runOf(event))), filter.flush()];
  return { all, text: Buffer.concat(all.map(({ bytes }) => bytes)).toString() };
}

describe('log probabilities', () => {
  test.each([
    ['openai-chat', 'a refusal with log probabilities'],
    ['openai-chat', 'log probabilities, several tokens in some chunks'],
    ['openai-completions', 'log probabilities'],
    ['openai-responses', 'log probabilities in the form of the final response'],
    ['gemini', 'log probabilities'],
  ] as const)('of %s: %s', (name, fixture) => {
    const { all, text } = shedAll(name, fixture, ['logprobs']);
    expect(text).not.toMatch(/"(?:token|tokens|logProbability|logprob)"/);
    expect([...new Set(all.flatMap(({ shed }) => shed))]).toEqual(['logprobs']);
    expect(all.filter(({ shed }) => shed.length === 0).length).toBeGreaterThan(0);
  });
});

describe('reasoning', () => {
  test.each([
    ['openai-chat', 'reasoning under another name, with details'],
    ['openai-chat', 'reasoning that just stops, the clock running'],
    ['openai-responses', 'reasoning in two summaries, then text'],
    ['openai-responses', 'reasoning as text'],
    ['anthropic-messages', 'thinking with a signature, then text'],
    ['anthropic-messages', 'thinking that is signed twice, hidden thinking, and pings in between'],
    ['gemini', 'thoughts, then text, then thoughts again'],
  ] as const)('of %s: %s', (name, fixture) => {
    const { all, text } = shedAll(name, fixture, ['reasoning']);
    const strings = payloadsOf(Buffer.from(text))
      .filter((data) => data !== '[DONE]')
      .flatMap((data) => reasoningIn(JSON.parse(data)));
    expect(strings).toEqual([]);
    expect([...new Set(all.flatMap(({ shed }) => shed))]).toEqual(['reasoning']);
    // Events of nothing else are not there.
    expect(all.filter(({ bytes, shed }) => shed.length > 0 && bytes.length === 0).length).toBeGreaterThan(0);
  });
});

/** The texts of reasoning in a payload, whatever its format is. */
function reasoningIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const all = value as Record<string, unknown>;
  const type = typeof all['type'] === 'string' ? all['type'] : '';
  const isThought = /reasoning|summary_text|thinking/.test(type) || all['thought'] === true;
  return Object.entries(all).flatMap(([key, part]) => {
    const isText = [
      'reasoning',
      'reasoning_content',
      'thinking',
      'signature',
      'encrypted_content',
      'thoughtSignature',
    ].includes(key);
    if (
      typeof part === 'string' &&
      part !== '' &&
      (isText || (isThought && ['text', 'delta', 'data'].includes(key)))
    )
      return [part];
    return reasoningIn(part);
  });
}

test('what usage is made up of', () => {
  const usages: [FormatName, string, string][] = [
    [
      'openai-chat',
      '{"choices":[],"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens":2}}',
      '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    ],
    [
      'openai-responses',
      '{"type":"response.completed","response":{"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0}}}}',
      '{"type":"response.completed","response":{"usage":{"input_tokens":1}}}',
    ],
    [
      'anthropic-messages',
      '{"type":"message_start","message":{"usage":{"cache_creation":{"a":1},"input_tokens":1}}}',
      '{"type":"message_start","message":{"usage":{"input_tokens":1}}}',
    ],
    [
      'anthropic-messages',
      '{"type":"message_delta","usage":{"output_tokens":1,"server_tool_use":{"a":1}}}',
      '{"type":"message_delta","usage":{"output_tokens":1}}',
    ],
    [
      'gemini',
      '{"candidates":[],"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT"}],"totalTokenCount":3}}',
      '{"candidates":[],"usageMetadata":{"totalTokenCount":3}}',
    ],
  ];
  for (const [name, payload, left] of usages) {
    const filter = shedding(name, ['usage-details']);
    filter.isShedding = true;
    const { bytes, shed } = filter.take(runOf(`data: ${payload}\n\n`));
    expect(new TextDecoder().decode(bytes)).toBe(`data: ${left}\n\n`);
    expect(shed).toEqual(['usage-details']);
  }
});

test('only what is named is left out, and only while it is asked for', () => {
  const event =
    'data: {"choices":[{"index":0,"delta":{"content":"a","reasoning":"b"},"logprobs":{"content":[{"token":"a"}]}}]}\n\n';
  const filter = shedding('openai-chat', ['reasoning']);
  const run = runOf(event);
  // Not even looked at.
  expect(filter.take(run).bytes).toBe(run.bytes);
  filter.isShedding = true;
  expect(new TextDecoder().decode(filter.take(run).bytes)).toBe(
    'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}\n\n',
  );
  const without = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n';
  expect(filter.take(runOf(without))).toMatchObject({ shed: [], events: 1 });
  filter.isShedding = false;
  expect(filter.take(run)).toEqual({ bytes: run.bytes, events: 1, redacted: 0, shed: [] });
});
