import { expect, inject, test } from 'vitest';
import { EventScanner } from '../../src/format/sse.ts';
import { formats } from '../support/formats.ts';
import { type FormatName, fixtures, formatNames, toSse } from './fixtures.ts';

/** Whether a stream that HTTP says is whole counts as whole, when its body is this. */
function isWhole(format: FormatName, bytes: Uint8Array): boolean {
  const scanner = new EventScanner({ classify: formats[format].classify });
  scanner.push(bytes, () => {});
  scanner.end(() => {});
  return scanner.hasEnded || scanner.hasFinished;
}

/** A stream up to this is cut at every byte, and a longer one in its first and last bytes. */
const shortBytes = 16_384;
const edgeBytes = 2048;

/**
 * Where a stream is cut. In the midst of a long one each event is like the one before it: a step that is prime comes to each place
 * in such an event after a few of them. The nightly takes every byte.
 */
function* cutsOf(length: number): Generator<number> {
  const isThorough = length <= shortBytes || inject('propertyRuns') !== undefined;
  for (let cut = 0; cut <= length; cut += 1) {
    const isInMidst = cut > edgeBytes && cut < length - edgeBytes;
    if (isThorough || !isInMidst || cut % 31 === 0) yield cut;
  }
}

test.each(formatNames)('promise 7: %s, cut at every byte, is whole only behind a whole event', (format) => {
  let whole = 0;
  for (const { events } of fixtures[format]) {
    const bytes = toSse(format, events);
    const text = new TextDecoder('latin1').decode(bytes);
    for (const cut of cutsOf(bytes.length)) {
      if (!isWhole(format, bytes.subarray(0, cut))) continue;
      whole += 1;
      // What stands behind the last blank line: nothing, a comment, or an end marker without its line ends.
      const rest =
        text
          .slice(0, cut)
          .split(/(?:\r\n|\r(?!\n)|\n){2}/)
          .at(-1) ?? '';
      expect(rest, `cut at ${cut}`).toMatch(
        /^(?::.*|[\r\n]*|(?:event: .*\r?\n)?data: (?:\[DONE\]|\{.*\})\r?\n?)$/,
      );
      if (format === 'gemini') expect(rest, `cut at ${cut}`).not.toContain('data');
    }
  }
  expect(whole).toBeGreaterThan(0);
});

test('promise 7: an event that is cut behind the last word is missing', () => {
  const last = 'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n';
  const encoder = new TextEncoder();
  for (const rest of ['', ': ping', ': ping\r\n', '\r\n']) {
    expect(isWhole('gemini', encoder.encode(last + rest)), rest).toBe(true);
  }
  for (const rest of [
    'd',
    'data: {"usageMetadata":{"totalTo',
    'data: {"usageMetadata":{}}\r\n',
    ': ping\r\nda',
    'event: x\r\n',
  ]) {
    expect(isWhole('gemini', encoder.encode(last + rest)), rest).toBe(false);
  }
});
