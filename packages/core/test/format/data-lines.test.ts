import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventScanner } from '../../src/format/sse.ts';
import { formats } from '../support/formats.ts';
import { checkProperty } from '../support/property.ts';
import { type FormatName, fixtures, formatNames, toEvents } from './fixtures.ts';

const encoder = new TextEncoder();

/** What a scanner says of a stream after each of its events, and when its bytes are over. */
function verdicts(
  format: FormatName,
  events: readonly string[],
  sizes: readonly number[] = [Infinity],
): string[] {
  const scanner = new EventScanner({ classify: formats[format].classify });
  const said: string[] = [];
  const say = (): void => {
    const { hasEnded, hasFailed, hasFinished } = scanner;
    said.push(JSON.stringify({ hasEnded, hasFailed, hasFinished }));
  };
  let piece = 0;
  for (const event of events) {
    const bytes = encoder.encode(event);
    for (let at = 0; at < bytes.length;) {
      const next = at + (sizes[piece++ % sizes.length] ?? 1);
      scanner.push(bytes.subarray(at, next), () => {});
      at = next;
    }
    say();
  }
  scanner.end(() => {});
  say();
  return said;
}

/** Errors in every shape, what only looks like one, and reasons that say nothing. */
const oddities = [
  '{"error":{"message":"m"}}',
  '[{"error":{"code":503}}]',
  '{"error":null}',
  '{"error":""}',
  '{"error":false}',
  '{"detail":"m"}',
  '{"detail":[]}',
  '{"errors":[{"message":"m"}]}',
  '{"message":"m","type":"invalid_request_error"}',
  '{"type":"error","message":"m"}',
  '{"object":"error","message":"m"}',
  '{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":null}],"error":{"code":1}}',
  '{"choices":[{"index":1,"delta":{"content":"\\"error\\": {"},"finish_reason":"error"}]}',
  '{"choices":[{"index":1,"delta":{},"finish_reason":"length"}],"message":"m"}',
  '{"candidates":[{"index":1,"finishReason":"FINISH_REASON_UNSPECIFIED"}]}',
  '{"candidates":[{"index":0,"finishReason":2},{"finishReason":"STOP","index":1}]}',
  '{"promptFeedback":{"blockReason":"SAFETY"}}',
  '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}',
  '{"type":"response.done","response":{"status":"failed"}}',
  '{"type":"response.done","response":{"status":"completed"}}',
  'no JSON',
  '',
];

const payloadsOf = Object.fromEntries(
  formatNames.map((format) => [
    format,
    [
      ...new Set(
        fixtures[format]
          .flatMap(({ events }) => toEvents(format, events))
          .flatMap((event) => /^data: (.*?)\r?$/m.exec(event)?.[1] ?? []),
      ),
    ],
  ]),
) as Record<FormatName, string[]>;

/** Puts white space where JSON may have it: between its tokens. */
function spread(json: string, spaces: readonly string[]): string {
  let count = 0;
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[^"{}[\],:\s]+|[{}[\],:]/g) ?? [];
  return tokens.map((token) => token + (spaces[count++ % spaces.length] ?? '')).join('');
}

interface Style {
  /** How wide it is indented; or what stands behind each token, in turn. */
  readonly layout: number | readonly string[];
  readonly lineEnd: string;
  readonly field: 'data: ' | 'data:';
  /** What stands between the lines. */
  readonly between: readonly string[];
  readonly cuts: readonly number[];
}

const style: fc.Arbitrary<Style> = fc.record({
  layout: fc.oneof(
    fc.integer({ min: 1, max: 8 }),
    fc.array(fc.constantFrom('', '', ' ', '\n', '\n  ', '\n\n'), { minLength: 1, maxLength: 7 }),
  ),
  lineEnd: fc.constantFrom('\n', '\r', '\r\n'),
  field: fc.constantFrom('data: ', 'data:'),
  between: fc.array(fc.constantFrom('', '', ': a comment', 'id: 7', 'retry: 10', 'other', 'event: message'), {
    minLength: 1,
    maxLength: 5,
  }),
  cuts: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
});

function isJson(payload: string): boolean {
  try {
    JSON.parse(payload);
    return true;
  } catch {
    return false;
  }
}

/** The event of a payload, in several lines. */
function inLines(payload: string, { between, field, layout, lineEnd }: Style): string {
  let text = `${payload}\n`;
  if (isJson(payload)) {
    const value: unknown = JSON.parse(payload);
    text = typeof layout === 'number' ? JSON.stringify(value, null, layout) : spread(payload, layout);
  }
  const lines = text.split('\n').flatMap((line, index) => {
    const other = between[index % between.length] ?? '';
    return other === '' ? [field + line] : [field + line, other];
  });
  return [...lines, '', ''].join(lineEnd);
}

describe.each(formatNames)('promise 7: an event of several lines of %s', (format) => {
  test('says what it says in one', async () => {
    const payload = fc.oneof(fc.constantFrom(...payloadsOf[format]), fc.constantFrom(...oddities));
    await checkProperty(
      `data lines: ${format}: an event of several lines says what it says in one`,
      fc.property(fc.array(payload, { maxLength: 8 }), style, (payloads, each) => {
        const events = payloads.map((text) => inLines(text, each));
        const read: string[] = [];
        const parser = createParser({ onEvent: ({ data }) => read.push(data) });
        parser.feed(events.join(''));
        expect(read).toHaveLength(payloads.length);
        expect(verdicts(format, events, each.cuts)).toEqual(
          verdicts(
            format,
            payloads.map((text) => `data: ${text}\n\n`),
          ),
        );
      }),
      500,
    );
  });

  test('is whole, in a stream of such events, behind its last word', () => {
    const { events } = fixtures[format].at(0) ?? { events: [] };
    const payloads = toEvents(format, events).flatMap((event) => /^data: (.*?)\r?$/m.exec(event)?.[1] ?? []);
    const each: Style = { layout: 2, lineEnd: '\n', field: 'data: ', between: [''], cuts: [1] };
    const said = verdicts(
      format,
      payloads.map((payload) => inLines(payload, each)),
    );
    expect(said.at(-1)).toMatch(/"hasEnded":true|"hasFinished":true/);
    expect(said.at(-1)).toContain('"hasFailed":false');
    expect(said[0]).toBe('{"hasEnded":false,"hasFailed":false,"hasFinished":false}');
  });

  test('is an error also where its blank line is missing', () => {
    const lines = JSON.stringify(
      JSON.parse(formats[format].errorBody({ message: 'm', code: 'c', status: 500 })),
      null,
      2,
    );
    const event = lines.replace(/^/gm, 'data: ');
    expect(verdicts(format, [event]).at(-1)).toContain('"hasFailed":true');
    for (let cut = 0; cut < event.length; cut += 1) {
      expect(verdicts(format, [event.slice(0, cut)]).at(-1), `cut at ${cut}`).toContain('"hasFailed":false');
    }
  });
});

describe('promise 7: an event of several lines', () => {
  const reason = '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]';
  const finished = '{"hasEnded":false,"hasFailed":false,"hasFinished":true}';
  const nothing = '{"hasEnded":false,"hasFailed":false,"hasFinished":false}';
  const ended = '{"hasEnded":true,"hasFailed":false,"hasFinished":true}';
  /** Of so many bytes in all, less those of its blank line. */
  const ofBytes = (size: number): string => {
    const rest = `data: {\ndata: ${reason},"pad":""}\n`.length;
    return `data: {\ndata: ${reason},"pad":"${'x'.repeat(size - rest)}"}\n\n`;
  };

  test.each<[string, readonly string[], string]>([
    ['the marker among other lines is none', ['data: 1\ndata: [DONE]\n\n'], nothing],
    ['the marker behind an empty line is none', ['data:\ndata: [DONE]\n\n'], nothing],
    [
      'the marker before an empty line',
      ['data: [DONE]\ndata:\n\n'],
      '{"hasEnded":true,"hasFailed":false,"hasFinished":false}',
    ],
    ['empty lines alone', ['data:\ndata\n\n'], nothing],
    [
      'a text that goes over two lines is none',
      ['data: {"choices":[{"finish_reason":"st\ndata: op"\n\n'],
      nothing,
    ],
    ['of 64 KiB', [ofBytes(65_536)], finished],
    ['of more than 64 KiB', [ofBytes(65_537)], nothing],
    ['of more than 64 KiB: others do not help', [ofBytes(65_537), `data: {${reason}}\n\n`], nothing],
    [
      'of more than 64 KiB: the marker does',
      [ofBytes(65_537), `data: {${reason}}\n\n`, 'data: [DONE]\n\n'],
      '{"hasEnded":true,"hasFailed":false,"hasFinished":false}',
    ],
    ['the marker behind it', [`data: {\ndata: ${reason}}\n\n`, 'data: [DONE]\n\n'], ended],
    [
      'what is behind it does not become part of it',
      [`data: {${reason}\ndata: }\n\n`, 'data: {\ndata: }\n\n'],
      finished,
    ],
  ])('%s', (_what, events, expected) => {
    for (const sizes of [[Infinity], [1], [7, 4096]]) {
      expect(verdicts('openai-chat', events, sizes).at(-1)).toBe(expected);
    }
  });

  test('does not hear what another stream was told', () => {
    const classify = formats['openai-chat'].classify;
    const scanners = [new EventScanner({ classify }), new EventScanner({ classify })];
    const long = encoder.encode('data: {"error":\ndata: {"message":"a text that is longer"}}\n\n');
    const short = encoder.encode('data: {"error":\ndata: \n\n');
    scanners[0]?.push(long, () => {});
    scanners[1]?.push(short, () => {});
    expect(scanners.map(({ hasFailed }) => hasFailed)).toEqual([true, false]);
  });
});
