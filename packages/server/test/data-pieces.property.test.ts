import { eventsIn } from '@spillway/core/format/sse-events';
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dataEvent } from '../src/read/data-event.ts';
import { withIds } from '../src/read/event-ids.ts';
import { joinSmall, type Pieces } from '../src/sink/join-small.ts';

/** Lines of all lengths and all line ends, so many that there is more than one piece. */
const text = fc
  .array(
    fc.record({
      line: fc.constantFrom(
        '',
        ':',
        'data: x',
        'data: é',
        'data: x\n',
        'id',
        'x'.repeat(5000),
        `data: ${'y'.repeat(20_000)}`,
      ),
      lineEnd: fc.constantFrom('\n', '\r', '\r\n'),
      times: fc.integer({ min: 1, max: 3000 }),
    }),
    { maxLength: 6 },
  )
  .map((lines) =>
    lines
      .map(({ line, lineEnd, times }) =>
        (line + lineEnd).repeat(line.length > 100 ? Math.min(times, 3) : times),
      )
      .join(''),
  );

/** Where a CR and an LF stand next to each other at every place. */
const shifted = fc
  .tuple(fc.integer({ min: 4080, max: 4110 }), text)
  .map(([length, rest]) => `${'z'.repeat(length)}\r\n${rest}`);

/** All pieces, of which each is small or a part of the bytes. */
function all(pieces: Pieces, bytes: Uint8Array, maxBytes: number): Buffer {
  const made: Uint8Array[] = [];
  for (;;) {
    const { done, value } = pieces.next();
    if (value.buffer !== bytes.buffer) expect(value.length).toBeLessThanOrEqual(maxBytes);
    made.push(value);
    if (done === true) return Buffer.concat(made);
  }
}

/** Memory of its own, so that a part of it can be told from a copy. */
function bytesOf(from: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(from));
  bytes.write(from);
  return bytes;
}

test('promise 1: of a text of any lines, an event of data is made in small pieces, and says the text', () => {
  fc.assert(
    fc.property(fc.oneof(text, shifted), fc.boolean(), (from, hasBom) => {
      const bytes = bytesOf(hasBom ? `\u{FEFF}${from}` : from);
      const made = all(
        dataEvent(bytes, () => 'event: control\ndata: {}\n\n'),
        bytes,
        7 * 4097 + 100,
      ).toString();
      const lines = from.split(/\r\n|\r|\n/);
      expect(
        made ===
          `event: data\n${lines.map((line) => `data: ${line}\n`).join('')}\nevent: control\ndata: {}\n\n`,
      ).toBe(true);
      const events: (string | undefined)[] = [];
      createParser({ onEvent: ({ data, event }) => events.push(event, data) }).feed(made);
      expect(events[0]).toBe('data');
      expect(events[1] === lines.join('\n')).toBe(true);
      expect(events.slice(2)).toEqual(['control', '{}']);
    }),
    { numRuns: 60 },
  );
});

test('promise 1: events get their ids in small pieces, each event one', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 3 }), (from, skipped) => {
      const bytes = bytesOf(`${from}\n\n`);
      const run = { bytes, byteLength: bytes.length, events: 1 };
      const made = all(joinSmall(withIds(run, 4, 5, skipped)), bytes, 2 * 8192).toString();
      const spans = eventsIn(bytes).map(({ end, start }) => bytes.toString('utf8', start, end));
      const isBlank = (span: string): boolean => /^[\r\n]*$/.test(span);
      const last = spans.findLastIndex((span) => !isBlank(span));
      const expected = spans.map((span, index) => {
        if (index < skipped) return '';
        if (isBlank(span)) return span;
        const id = index === last ? '0000000000000005' : `0000000000000004.${index + 1}`;
        const [, lines = '', lineEnd = ''] = /^([^]*?(\r\n|\n|\r))(?:\r\n|\n|\r)$/.exec(span) ?? [];
        return `${lines}id: ${id}${lineEnd}${span.slice(lines.length)}`;
      });
      if (last === -1) expected.push('id: 0000000000000005\n\n');
      expect(made === expected.join('')).toBe(true);
    }),
    { numRuns: 60 },
  );
});
