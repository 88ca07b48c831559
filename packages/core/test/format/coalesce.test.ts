import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCoalesce } from '../../src/format/coalesce.ts';
import { type EventRun, EventScanner } from '../../src/format/sse.ts';
import { type MergedChunk, mergePairs } from '../../src/merge.ts';
import { checkProperty } from '../support/property.ts';
import { accumulators } from './accumulate.ts';
import { fixtures, formatNames, readRecordings, toSse } from './fixtures.ts';
import { keepsUp, lag, type Lag, lagsFully, send } from './lagging-reader.ts';
import { formats } from '../support/formats.ts';

const streams = [
  ...formatNames.flatMap((format) =>
    fixtures[format].map(({ events, isCut, name }) => ({
      format,
      name,
      bytes: toSse(format, events, isCut),
    })),
  ),
  ...readRecordings().map(({ events, format, name }) => ({
    format,
    name: `recorded ${name}`,
    bytes: toSse(format, events),
  })),
];

describe('promise 9: however a reader lags, the SDKs make the same of it', () => {
  test.each(streams)('$format: $name', async ({ bytes, format, name }) => {
    const scanned = send(format, bytes, keepsUp);
    const raw = new Map<string, unknown>();
    for (const [sdk, accumulate] of Object.entries(accumulators[format]))
      raw.set(sdk, await accumulate(scanned));
    const isSame = async (pattern: Lag): Promise<void> => {
      const sent = send(format, bytes, pattern);
      for (const [sdk, accumulate] of Object.entries(accumulators[format])) {
        expect(await accumulate(sent), sdk).toEqual(raw.get(sdk));
      }
    };
    await isSame(lagsFully);
    await checkProperty(`coalesce: ${format}, ${name}`, fc.asyncProperty(lag, isSame), 8);
  });
});

test('a reader that keeps up gets the bytes of the provider', () => {
  for (const { bytes, format } of streams) {
    const scanner = new EventScanner({ classify: formats[format].classify });
    const runs: Uint8Array[] = [];
    scanner.push(bytes, (run) => runs.push(run.bytes));
    expect(Buffer.from(send(format, bytes, keepsUp)).equals(Buffer.concat(runs))).toBe(true);
  }
});

test.each([
  ['openai-chat', 15],
  ['openai-completions', 15],
  // Its last event has all of the text once more.
  ['openai-responses', 4],
  ['anthropic-messages', 8],
] as const)('a fully lagging reader of a long %s text gets far fewer bytes', (format, times) => {
  const [fixture] = fixtures[format];
  const bytes = toSse(format, fixture?.events ?? []);
  expect(bytes.length / send(format, bytes, lagsFully).length).toBeGreaterThan(times);
});

test.each(streams.filter(({ name }) => /^recorded (openai|deepseek|groq|xai)-text$/.test(name)))(
  '$format, $name: 25 times fewer bytes',
  ({ bytes, format }) => {
    if (format === 'openai-chat')
      expect(bytes.length / send(format, bytes, lagsFully).length).toBeGreaterThan(25);
  },
);

test('what waits keeps nothing of a read that was only lent to it', () => {
  const event = (text: string): string => `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}\n\n`;
  const texts = Array.from({ length: 400 }, (_, at) => `${at} `);
  const bytes = Buffer.from(texts.map(event).join(''));
  // Whole events in each read, and a window that is soon full.
  const sent = send('openai-chat', bytes, {
    pieces: [event('100 ').length * 5],
    takes: [0],
    windowBytes: 6000,
  });
  expect(Buffer.from(sent).toString()).toBe(event(texts.join('')));
});

test('many neighbours in one pass become what they become two by two', async () => {
  await checkProperty(
    'coalesce: all',
    fc.property(
      fc.constantFrom(...streams),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 300, max: 16_000 }),
      ({ bytes, format }, pieces, maxBytes) => {
        const merge = createCoalesce(formats[format].delta);
        const runs: EventRun[] = [];
        const scanner = new EventScanner({ classify: formats[format].classify });
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = pieces[turn % pieces.length] ?? 1;
          scanner.push(new Uint8Array(bytes.subarray(at, at + size)), (run) => runs.push(run));
          at += size;
        }
        const fits = ({ byteLength }: EventRun): boolean => byteLength <= maxBytes;
        const all = merge.all?.(runs, fits) ?? [];
        expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(runs.length);
        for (const { chunk, count } of all) {
          if (count > 1) expect(fits(chunk)).toBe(true);
          expect(chunk.bytes.length).toBe(chunk.byteLength);
        }
        const textOf = (chunks: readonly MergedChunk<EventRun>[]): string =>
          Buffer.concat(chunks.map(({ chunk }) => chunk.bytes)).toString();
        const always = (): boolean => true;
        const pairs = mergePairs(runs, merge, always);
        const unbound = merge.all?.(runs, always) ?? [];
        expect(textOf(unbound)).toBe(textOf(pairs));
        expect(unbound.map(({ count }) => count)).toEqual(pairs.map(({ count }) => count));
        // Where a bound parts them may differ: two by two, one in between may be too large that is smaller with its next.
        const whole = mergePairs(
          all.map(({ chunk }) => chunk),
          merge,
          always,
        );
        expect(textOf(whole)).toBe(textOf(pairs));
      },
    ),
    200,
  );
});

describe('what was merged before changes nothing of what is merged next', () => {
  const run = (text: string, lineEnd: string, last = lineEnd): EventRun => {
    const event = `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}${lineEnd}${last}`;
    const bytes = new TextEncoder().encode(event);
    return { bytes, byteLength: bytes.length, events: 1 };
  };
  const textOf = (merged: EventRun | undefined): string | undefined =>
    merged && Buffer.from(merged.bytes).toString();

  test('an event whose last line end was cut', () => {
    const merge = createCoalesce(formats['openai-chat'].delta);
    merge(run('a', '\r\n', '\r'), run('b', '\r\n', '\r'));
    expect(textOf(merge(run('c', '\r\n'), run('d', '\r\n')))).toBe(textOf(run('cd', '\r\n')));
  });

  test('an event that is as large as one may be', () => {
    const large = run('x'.repeat(60), '\n');
    const options = { maxEventBytes: large.byteLength };
    const merge = createCoalesce(formats['openai-chat'].delta, options);
    merge(run('a', '\n'), run('b', '\n'));
    expect(textOf(merge(large, run('', '\n')))).toBe(
      textOf(createCoalesce(formats['openai-chat'].delta, options)(large, run('', '\n'))),
    );
  });
});
