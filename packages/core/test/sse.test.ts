import { createParser, type EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openaiChat } from '../src/format/openai-chat.ts';
import type { SpillwayError } from '../src/errors.ts';
import { type EventRun, EventScanner, type EventScannerOptions } from '../src/format/sse.ts';
import { checkProperty } from './support/property.ts';

const encoder = new TextEncoder();

/** Scans bytes that come in the given pieces. */
function scan(
  pieces: readonly Uint8Array[],
  options?: EventScannerOptions,
): { runs: EventRun[]; scanner: EventScanner } {
  const scanner = new EventScanner(options);
  const runs: EventRun[] = [];
  const keep = (run: EventRun): void => void runs.push(run);
  for (const piece of pieces) scanner.push(piece, keep);
  scanner.end(keep);
  return { runs, scanner };
}

function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const ends = [...new Set([...at.map((position) => position % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

function join(runs: readonly EventRun[]): string {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return runs.map(({ bytes }) => decoder.decode(bytes, { stream: true })).join('') + decoder.decode();
}

/** What another implementation of the standard makes of it. */
function parse(text: string): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => events.push(event) });
  parser.feed(text);
  return events;
}

const lineEnd = fc.constantFrom('\n', '\r', '\r\n');
const value = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', ' ', ':', 'é', '漢', '🌊', '[', '{', '"', '\0', '\uFEFF') }),
  fc.constantFrom('[DONE]', '{"error":{}}', '{"id":1}'),
);
const line = fc.oneof(
  { weight: 5, arbitrary: value.map((text) => `data: ${text}`) },
  value.map((text) => `data:${text}`),
  value.map((text) => `: ${text}`),
  value.map((text) => `event: ${text}`),
  value.map((text) => `id: ${text}`),
  value,
  { weight: 4, arbitrary: fc.constant('') },
);
const stream = fc
  .tuple(fc.boolean(), fc.array(fc.tuple(line, lineEnd), { maxLength: 30 }))
  .map(([bom, lines]) => (bom ? '\uFEFF' : '') + lines.map(([text, end]) => text + end).join(''));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe('promise 8: any way of cutting the same bytes gives the same events', () => {
  test('against a parser of the standard, on random streams', async () => {
    await checkProperty(
      'sse: any way of cutting the same bytes',
      fc.property(stream, cuts, (text, at) => {
        const bytes = encoder.encode(text);
        const { runs } = scan(cut(bytes, at));
        const events = parse(join(runs));
        // A stream that starts with a BOM in its bytes loses it; the rest is the provider's own.
        expect(join(runs)).toBe(text.replace(/^\uFEFF/, '').slice(0, join(runs).length));
        expect(events).toEqual(parse(text));
        expect(runs.reduce((sum, run) => sum + run.events, 0)).toBe(events.length);
        // Every run is whole: parsed one by one they give the same events.
        const oneByOne = runs.flatMap((run) => parse(join([run])));
        expect(oneByOne.map(({ data }) => data)).toEqual(events.map(({ data }) => data));
      }),
      3000,
    );
  });

  test('byte by byte, with every kind of line end', () => {
    for (const end of ['\n', '\r', '\r\n']) {
      const text = `\uFEFF: hi${end}${end}event: a${end}data: é漢🌊${end}data: x${end}${end}data: y${end}${end}`;
      const bytes = encoder.encode(text);
      for (const size of [1, 2, 3, 5, 7]) {
        const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        );
        const { runs } = scan(pieces);
        expect(parse(join(runs)).map(({ data }) => data)).toEqual(['é漢🌊\nx', 'y']);
        expect(runs.reduce((sum, run) => sum + run.events, 0)).toBe(2);
      }
    }
  });

  test('with a limit: the same events before the same error', async () => {
    const scanLimited = (
      pieces: readonly Uint8Array[],
      maxEventBytes: number,
    ): { data: string[]; error: unknown } => {
      const scanner = new EventScanner({ maxEventBytes });
      const runs: EventRun[] = [];
      let error: unknown;
      try {
        for (const piece of pieces) scanner.push(piece, (run) => runs.push(run));
      } catch (thrown) {
        error = (thrown as SpillwayError).code;
      }
      const events = runs.reduce((sum, run) => sum + run.events, 0);
      expect(parse(join(runs))).toHaveLength(events);
      // The start of a BOM is held, too.
      expect(scanner.partialBytes).toBeLessThanOrEqual(Math.max(maxEventBytes, 2));
      return { data: parse(join(runs)).map(({ data }) => data), error };
    };
    await checkProperty(
      'sse: the same events before the same error',
      fc.property(stream, cuts, fc.integer({ min: 1, max: 40 }), (text, at, maxEventBytes) => {
        const bytes = encoder.encode(text);
        const whole = scanLimited([bytes], maxEventBytes);
        expect(scanLimited(cut(bytes, at), maxEventBytes)).toEqual(whole);
        const byteByByte = Array.from(bytes, (byte) => Uint8Array.of(byte));
        expect(scanLimited(byteByByte, maxEventBytes)).toEqual(whole);
      }),
    );
  });

  test('the end marker, wherever it is cut', async () => {
    await checkProperty(
      'sse: the end marker, wherever it is cut',
      fc.property(fc.nat(5), lineEnd, cuts, fc.nat(40), (events, end, at, extra) => {
        const body = `data: {"id":1}${end}${end}`.repeat(events) + `data: [DONE]${end}${end}`;
        const bytes = encoder.encode(body + 'x'.repeat(extra));
        const { runs, scanner } = scan(cut(bytes, at), { classify: openaiChat.classify });
        expect(scanner.hasEnded).toBe(true);
        // A CRLF may be cut inside the last blank line; its LF is then behind the end.
        expect([body, body.slice(0, -1)]).toContain(join(runs));
      }),
    );
  });
});

describe('EventScanner', () => {
  test('hands on a chunk of whole events as it is, without a copy', () => {
    const chunk = encoder.encode('data: 1\n\ndata: 2\n\n');
    const { runs } = scan([chunk]);
    expect(runs).toHaveLength(1);
    expect(runs[0]?.bytes).toBe(chunk);
  });

  test('hands on whole events at once, and only the rest is put together', () => {
    const chunk = encoder.encode('data: 1\n\ndata: 2');
    const scanner = new EventScanner();
    const runs: EventRun[] = [];
    scanner.push(chunk, (run) => runs.push(run));
    expect(join(runs)).toBe('data: 1\n\n');
    expect(runs[0]?.bytes.buffer).toBe(chunk.buffer);
    scanner.push(encoder.encode('3\n\ndata: 4\n\n'), (run) => runs.push(run));
    expect(runs.map((run) => join([run]))).toEqual(['data: 1\n\n', 'data: 23\n\n', 'data: 4\n\n']);
  });

  test('completes an end marker that lacks its blank line, and nothing else', () => {
    for (const text of ['data: [DONE]', 'data: [DONE]\n', 'data:[DONE]\r\n']) {
      const { runs, scanner } = scan([encoder.encode(text)], { classify: openaiChat.classify });
      expect(scanner.hasEnded).toBe(true);
      expect(parse(join(runs)).map(({ data }) => data)).toEqual(['[DONE]']);
    }
    for (const text of ['data: [DONE', 'data: 1\ndata: [DONE]', ': [DONE]', 'data: {}\n']) {
      const { runs, scanner } = scan([encoder.encode(text)], { classify: openaiChat.classify });
      expect(scanner.hasEnded).toBe(false);
      expect(runs).toEqual([]);
    }
  });

  test.each([
    ['event: error\ndata: x\n\n', true],
    ['event:error\ndata: x\n\n', true],
    ['data: x\nevent: error\n\n', true],
    ['event: error\n\ndata: x\n\n', false],
    ['event: errors\ndata: x\n\n', false],
    ['event:  error\ndata: x\n\n', false],
    [': event: error\ndata: x\n\n', false],
    ['data: {"detail":"m"}\n\n', true],
    ['data: {"detail":"m"}\n\n: ping\n\n', true],
    ['data: {"detail":"m"}\n\ndata: {"choices":[]}\n\n', false],
    ['data: {"detail":"m"}\n\ndata: [DONE]\n\n', false],
    ['data: {"detail":\ndata: "m"}\n\n', true],
    ['data: {"detail":\ndata: "m"}\n\ndata: {"choices":[]}\n\n', false],
    ['data: {"error":{}}\n\ndata: {"choices":[]}\n\n', true],
    ['data: {"error":{}}\n', true],
    ['data: {"error":{}', false],
    ['event: error\ndata: {"code":1}', true],
    ['event: error\ndata: {"code":1', false],
  ])('knows an error by its name and its words: %j', (text, hasFailed) => {
    const whole = encoder.encode(text);
    for (const pieces of [[whole], [...whole].map((byte) => Uint8Array.of(byte))]) {
      expect(scan(pieces, { classify: openaiChat.classify }).scanner.hasFailed).toBe(hasFailed);
    }
  });

  test.each<[string, string | undefined]>([
    ['event: error\ndata: x\n\ndata: {"error":{}}\n\n', 'x'],
    ['data: {"detail":"m"}\n\ndata: {"error":{}}\n\n', '{"error":{}}'],
    ['data: {"error":\ndata: {}}\n\ndata: {"choices":[]}\n\n', '{"error":\n{}}'],
    ['data: {"detail":"m"}\n\ndata: {"choices":[]}\n\n', undefined],
    ['data: {"error":{"code":1}}\n', '{"error":{"code":1}}'],
    ['data: [DONE]\n\n', undefined],
    [`data: {"error":"${'x'.repeat(20_000)}"}\n\n`, undefined],
  ])('keeps what an error says: %j', (text, said) => {
    const whole = encoder.encode(text);
    for (const pieces of [[whole], [...whole].map((byte) => Uint8Array.of(byte))]) {
      const { errorData } = scan(pieces, { classify: openaiChat.classify }).scanner;
      // What is read next overwrites the bytes.
      whole.fill(0);
      expect(errorData && new TextDecoder().decode(errorData)).toBe(said);
      whole.set(encoder.encode(text));
    }
  });

  test('refuses an event beyond the limit, in one piece or in many', () => {
    const event = encoder.encode(`data: ${'x'.repeat(100)}\n\n`);
    expect(scan([event], { maxEventBytes: event.length }).runs).toHaveLength(1);
    for (const size of [1, 7, event.length]) {
      const pieces = Array.from({ length: Math.ceil(event.length / size) }, (_, index) =>
        event.subarray(index * size, (index + 1) * size),
      );
      expect(() => scan(pieces, { maxEventBytes: event.length - 1 })).toThrow(
        expect.objectContaining({ code: 'event_too_large' }),
      );
    }
    expect(() => new EventScanner({ maxEventBytes: 0 })).toThrow(
      expect.objectContaining({ code: 'invalid_option' }),
    );
  });

  test('hands on what is complete before an event beyond the limit, however they are cut', () => {
    const large = `data: ${'x'.repeat(50)}`;
    for (const pieces of [
      [`data: a\n\n${large}\n\n`],
      ['data: a\n\n', `${large}\n\n`],
      [`data: a\n\n${large}`],
    ]) {
      const scanner = new EventScanner({ maxEventBytes: 20 });
      const runs: EventRun[] = [];
      expect(() => {
        for (const piece of pieces) scanner.push(encoder.encode(piece), (run) => runs.push(run));
      }).toThrow(expect.objectContaining({ code: 'event_too_large' }));
      expect(join(runs)).toBe('data: a\n\n');
    }
  });

  test('counts comments as no events', () => {
    expect(scan([encoder.encode(': a\n\n: b\n\ndata: 1\n\n')]).runs).toMatchObject([{ events: 1 }]);
    expect(scan([encoder.encode(': a\n\n')]).runs).toMatchObject([{ events: 0 }]);
  });
});
