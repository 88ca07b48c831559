import { createCoalesce } from '@spillway/core/format/coalesce';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accumulators } from '../../../core/test/format/accumulate.ts';
import {
  type Fixture,
  fixtures,
  type FormatName,
  formatNames,
  toSse,
} from '../../../core/test/format/fixtures.ts';
import { formats } from '../../../core/test/support/formats.ts';
import { checkProperty } from '../../../core/test/support/property.ts';
import type { ContentFilter } from '../../src/tap/content/content-filter.ts';
import { createContentFilter } from '../../src/tap/content/content-filter.ts';
import { redactText } from '../../src/tap/content/redactor.ts';
import { allRules, examples } from './examples.ts';
import { keep, type Kind, payloadsOf, runOf, runsOf, saidIn, streamOf } from './streams.ts';

function redacting(format: Format, maxHeldBytes = 65_536): ContentFilter {
  const filter = createContentFilter(format, { content: 'full', redact: allRules, maxHeldBytes });
  if (filter === undefined) throw new Error('Expected a filter.');
  return filter;
}

/** What is kept of a stream that comes in these runs. */
function kept(format: Format, runs: readonly EventRun[]): Uint8Array {
  return keep(redacting(format), runs).bytes;
}

function bytesOf(format: FormatName, kind: Kind, deltas: readonly string[]): Uint8Array {
  return Buffer.from(streamOf(format, kind, deltas) ?? '');
}

const textCases = formatNames.flatMap((format) =>
  examples.map((example) => [format, example.rule, example.text, example.kept] as const),
);

describe('an answer', () => {
  test.each(textCases)('%s: %s, cut into deltas at every place: %s', (name, _rule, text, expected) => {
    const format = formats[name];
    for (let at = 0; at <= text.length; at += 1) {
      const bytes = bytesOf(name, 'text', [text.slice(0, at), text.slice(at)]);
      const result = kept(format, runsOf(format, bytes, []));
      expect(saidIn(name, 'text', result), `at ${at}`).toBe(expected);
      // Also what says it once more, as a whole.
      if (expected !== text) expect(redactText(payloadsOf(result).join('\n'), allRules).redacted).toBe(0);
    }
  });

  test.each(formatNames)('%s, whose bytes are cut at every place', (name) => {
    const format = formats[name];
    const text = 'To ada@example.com or +49 30 1234567: 4111 1111 1111 1111.';
    const bytes = bytesOf(name, 'text', text.split(/(?<=[@ .])/));
    for (let at = 0; at <= bytes.length; at += 1)
      expect(saidIn(name, 'text', kept(format, runsOf(format, bytes, [at]))), `at ${at}`).toBe(
        'To [email] or [phone]: [card].',
      );
  });
});

/** Arguments with this text in them, written in several ways. */
function argumentsWith(text: string): string[] {
  const escaped = Array.from({ length: text.length }, (_, index) => {
    const code = text.charCodeAt(index);
    return /[a-z0-9]/i.test(text[index] ?? '') ? text[index] : `\\u${code.toString(16).padStart(4, '0')}`;
  }).join('');
  return [
    JSON.stringify({ to: text, n: 1 }),
    `{"to":"${escaped}","n":1}`,
    JSON.stringify({ to: text, n: 1 }, undefined, 1).replaceAll('/', String.raw`\/`),
  ];
}

const callCases = (['openai-chat', 'openai-responses', 'anthropic-messages'] as const).flatMap((format) =>
  examples.map((example) => [format, example.rule, example.text, example.kept] as const),
);

describe('the arguments of a call', () => {
  test.each(callCases)('%s: %s, cut into deltas at every place: %s', (name, _rule, text, expected) => {
    const format = formats[name];
    for (const whole of argumentsWith(text)) {
      for (let at = 0; at <= whole.length; at += 1) {
        const bytes = bytesOf(name, 'arguments', [whole.slice(0, at), whole.slice(at)]);
        const result = kept(format, runsOf(format, bytes, []));
        expect(JSON.parse(saidIn(name, 'arguments', result)), `at ${at} of ${whole}`).toEqual({
          to: expected,
          n: 1,
        });
      }
    }
  });
});

describe('the official SDKs read what is kept', () => {
  test.each(textCases.filter(([, , text], index) => index % 3 === 0 || text.includes('PRIVATE')))(
    '%s: %s, a character a delta: %s',
    async (name, _rule, text, expected) => {
      const format = formats[name];
      const result = kept(format, runsOf(format, bytesOf(name, 'text', Array.from(text)), []));
      for (const [reader, accumulate] of Object.entries(accumulators[name])) {
        if (reader === 'wire') continue;
        expect(strings(await accumulate(result)), reader).toContain(expected);
      }
    },
  );

  test.each(callCases.filter((_, index) => index % 4 === 0))(
    '%s: %s, in the arguments of a call: %s',
    async (name, _rule, text, expected) => {
      const format = formats[name];
      const whole = JSON.stringify({ to: text });
      const result = kept(format, runsOf(format, bytesOf(name, 'arguments', Array.from(whole)), []));
      for (const [reader, accumulate] of Object.entries(accumulators[name])) {
        if (reader === 'wire') continue;
        const found = strings(await accumulate(result));
        expect(found.includes(expected) || found.includes(JSON.stringify({ to: expected })), reader).toBe(
          true,
        );
      }
    },
  );

  const cases = formatNames.flatMap((format): [FormatName, string, Fixture][] =>
    fixtures[format].map((fixture) => [format, fixture.name, fixture]),
  );
  test.each(cases)('%s, with nothing to be replaced: %s', async (name, _name, fixture) => {
    const format = formats[name];
    const bytes = toSse(name, fixture.events, fixture.isCut);
    const result = keep(redacting(format), runsOf(format, bytes, []));
    expect(result.redacted).toBe(0);
    for (const [reader, accumulate] of Object.entries(accumulators[name])) {
      // Those that join what stands next to each other see an event more.
      if (byHand.has(reader) || fixture.except?.includes(reader) === true) continue;
      // They show the first candidate of an event, whichever that is.
      if (fixture.name === 'two candidates') continue;
      // It joins no parts that have fields of their own.
      if (reader === 'geminiChat' && fixture.name === 'fields that nobody knows') continue;
      const found = new Set(strings(await accumulate(result.bytes)));
      const missing = fixture.expects.filter((text) => !found.has(text) && !found.has(JSON.stringify(text)));
      // Tokens that the model did not take are log probabilities.
      expect(
        missing.filter((text) => !text.startsWith(' alt')),
        reader,
      ).toEqual([]);
    }
  });
});

const byHand = new Set([
  'wire',
  'openaiChatChunks',
  'openaiResponsesEvents',
  'anthropicEvents',
  'geminiChunks',
]);

/** Every string in a result, however deep. */
function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(strings);
}

const parts = fc.constantFrom(
  'ada',
  '@',
  'example',
  '.com',
  ' ',
  'a@b.cc',
  '4111',
  ' 1111',
  '4111111111111111',
  '+49',
  ' 30 ',
  '1234567',
  '.',
  ', ',
  'sk-',
  'abc1',
  'Bearer ',
  '0123456789abcdef',
  'AKIAIOSFODNN7',
  'EXAMPLE',
  '-----BEGIN ',
  'PRIVATE KEY',
  '-----',
  '\n',
  'é',
  '中',
  '😀',
  '"',
  '\\',
  '\\u0040',
  '\u00ad',
  '',
);
const streams = fc.record({
  name: fc.constantFrom(...formatNames),
  kind: fc.constantFrom<Kind>('text', 'arguments'),
  deltas: fc.array(parts, { maxLength: 20 }),
  cuts: fc.array(fc.nat({ max: 20_000 }), { maxLength: 6 }),
  merges: fc.array(fc.boolean(), { maxLength: 20 }),
});

test('however a stream is cut and merged, the same is said, and no rule finds anything', async () => {
  await checkProperty(
    'redacted events: any cut and merge',
    fc.property(streams, ({ cuts, deltas, kind, merges, name }) => {
      const stream = streamOf(name, kind, deltas);
      if (stream === undefined) return;
      const format = formats[name];
      const bytes = Buffer.from(stream);
      const places = cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b);
      const merged = mergeSome(format, runsOf(format, bytes, places), merges);
      const whole = deltas.join('');
      const isJson = kind === 'arguments';
      const result = kept(format, merged);
      const said = saidIn(name, kind, result);
      if (!isJson) expect(said).toBe(redactText(whole, allRules).text);
      expect(said).toBe(saidIn(name, kind, kept(format, runsOf(format, bytes, []))));
      expect(redactText(said, allRules).redacted).toBe(0);
    }),
    1500,
  );
});

/** Merges neighbours as a channel does for a reader that lags. */
function mergeSome(format: Format, runs: readonly EventRun[], merges: readonly boolean[]): EventRun[] {
  const merge = createCoalesce(format.delta);
  const all: EventRun[] = [];
  for (const [index, run] of runs.entries()) {
    const last = all.at(-1);
    const both =
      last !== undefined && (merges[index % (merges.length + 1)] ?? false) ? merge(last, run) : undefined;
    if (both === undefined) all.push(run);
    else all[all.length - 1] = both;
  }
  return all;
}

describe('what is held back', () => {
  test('comes before what ends its text, and says since when', () => {
    const filter = redacting(formats['anthropic-messages']);
    const events = (streamOf('anthropic-messages', 'text', ['Hello ', 'wor', 'ld']) ?? '').split(/(?<=\n\n)/);
    const since = events.map((event) => {
      filter.take(runOf(event));
      return filter.heldSince;
    });
    // message_start, content_block_start, three deltas, and what ends them.
    expect(since).toEqual([undefined, undefined, undefined, 3, 3, undefined, undefined, undefined]);
    expect(filter.flush()).toEqual({ bytes: new Uint8Array(0), events: 0, redacted: 0, shed: [] });
  });

  test('is an event of its own at the end of a stream that is cut', () => {
    const name = 'openai-chat';
    const events = (streamOf(name, 'text', ['mail ada@exam', 'ple.com']) ?? '')
      .split(/(?<=\n\n)/)
      .slice(0, 3);
    const result = keep(redacting(formats[name]), events.map(runOf));
    expect(saidIn(name, 'text', result.bytes)).toBe('mail [email]');
    expect(result).toMatchObject({ events: 4, redacted: 1 });
    expect(payloadsOf(result.bytes)).toHaveLength(4);
  });

  test('goes on over the end of a choice that goes on', () => {
    const name = 'gemini';
    const chunk = (text: string): string =>
      `data: {"candidates":[{"content":{"parts":[{"text":"${text}"}]},"finishReason":"STOP","index":0}]}\r\n\r\n`;
    const result = keep(redacting(formats[name]), ['to ada@', 'example', '.com.'].map(chunk).map(runOf));
    expect(saidIn(name, 'text', result.bytes)).toBe('to [email].');
  });

  test('is bounded, however many texts there are', () => {
    const filter = redacting(formats['openai-chat'], 4096);
    let said = '';
    for (let index = 0; index < 5000; index += 1) {
      const event = `data: {"choices":[{"index":${index},"delta":{"content":"word${index}"}}]}\n\n`;
      said += new TextDecoder().decode(filter.take(runOf(event)).bytes);
      expect(filter.heldSince).toBeGreaterThan(index - 1024);
    }
    said += new TextDecoder().decode(filter.flush().bytes);
    for (let index = 0; index < 5000; index += 1) expect(said).toContain(`"word${index}"`);
  });
});

describe('what is no delta', () => {
  test.each([
    [': ada@example.com\n\n', ': [email]\n\n'],
    ['id: ada@example.com\nevent: x\ndata: {}\n\n', 'id: [email]\nevent: x\ndata: {}\n\n'],
    ['data: {"error":{"message":"no ada@example.com"}}\n\n', 'data: {"error":{"message":"no [email]"}}\n\n'],
    ['data: {"x":{"ada@example.com":[{"y":"a@b.cc"}]}}\n\n', 'data: {"x":{"[email]":[{"y":"[email]"}]}}\n\n'],
    ['data: {"x":\ndata: "a@b.cc"}\n\n', 'data: {"x":\ndata: "[email]"}\n\n'],
    ['data: {"n":1.0,"card":4111111111111111}\n\n', 'data: {"n":1.0,"card":0}\n\n'],
    ['data:"a@b.cc"\r\r', 'data: "[email]"\r\r'],
  ])('%j', (event, expected) => {
    const { bytes } = keep(redacting(formats['openai-chat']), [runOf(event)]);
    expect(new TextDecoder().decode(bytes)).toBe(expected);
  });

  test('goes on with the next event where it is no JSON', () => {
    for (const [first, second, expected] of [
      ['to ada@', 'example.com.', 'to [email].'],
      ['a@b.cc is', ' no JSON', '[email] is no JSON'],
      [String.raw`{"x":"a\u0040b`, '.cc', '{"x":"[email]'],
    ]) {
      const runs = [`data: ${first}\n\n`, `data: ${second}\n\n`].map(runOf);
      const { bytes } = keep(redacting(formats['openai-chat']), runs);
      expect(payloadsOf(bytes).join('')).toBe(expected);
    }
  });

  test('stays byte for byte where nothing is found', () => {
    const event =
      'event: x\r\nid: 7\r\ndata: { "n" : 1.0, "b":12345678901234567890, "t":"\\u0041\\/", "t":"x" }\r\n\r\n';
    const run = runOf(event);
    expect(redacting(formats['openai-chat']).take(run).bytes).toBe(run.bytes);
  });
});

test('log probabilities, which repeat the text, are left out', () => {
  for (const name of formatNames) {
    for (const fixture of fixtures[name].filter((one) => one.name.includes('log prob'))) {
      const result = keep(redacting(formats[name]), runsOf(formats[name], toSse(name, fixture.events), []));
      expect(result.shed).toEqual(['logprobs']);
      expect(new TextDecoder().decode(result.bytes)).not.toMatch(/"(token|bytes|topCandidates)"/);
    }
  }
});
