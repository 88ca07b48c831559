import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCoalesce } from '../../src/format/coalesce.ts';
import type { EventRun } from '../../src/format/sse.ts';
import { formats } from '../support/formats.ts';
import { checkProperty } from '../support/property.ts';
import { accumulators } from './accumulate.ts';
import { fixtures, type FormatName, formatNames, toEvents, type WireEvent } from './fixtures.ts';
import { readWire } from './joined-events.ts';
import { keepsUp, lag, lagsFully, send } from './lagging-reader.ts';
import { countPlaces, plainValues, valuesThatMayAddUp, withFieldAt } from './unknown-values.ts';

const encoder = new TextEncoder();

function run(text: string): EventRun {
  const bytes = encoder.encode(text);
  return { bytes, byteLength: bytes.length, events: 1 };
}

/** A delta of a plain text of the format, as others are around it. */
function deltaOf(format: FormatName): string {
  const data = fixtures[format][0]?.events[20];
  if (typeof data !== 'string') throw new Error(`${format} has no such event`);
  return data;
}

function event(format: FormatName, data: string): EventRun {
  return run(toEvents(format, [data], true).join(''));
}

describe.each(formatNames)('promise 9: what no rule of %s names', (format) => {
  const delta = deltaOf(format);
  const plain = event(format, delta);
  const places = Array.from({ length: countPlaces(delta) }, (_, place) => place);
  const merges = (first: EventRun, second: EventRun): boolean =>
    createCoalesce(formats[format].delta)(first, second) !== undefined;

  test.each(places)('and may add up is never merged (%i)', (place) => {
    expect(merges(plain, plain)).toBe(true);
    for (const value of valuesThatMayAddUp) {
      const odd = event(format, withFieldAt(delta, place, `"x_unknown":${value}`));
      for (const [first, second] of [
        [odd, odd],
        [odd, plain],
        [plain, odd],
      ] as const) {
        expect(merges(first, second), value).toBe(false);
      }
    }
  });

  test.each(places)('and is in both, with nothing in it, is kept (%i)', (place) => {
    for (const value of plainValues) {
      const odd = event(format, withFieldAt(delta, place, `"x_unknown":${value}`));
      expect(merges(odd, odd), value).toBe(true);
      expect(merges(odd, plain), value).toBe(false);
      expect(merges(plain, odd), value).toBe(false);
    }
  });
});

test.each(['openai-responses', 'anthropic-messages'] as const)(
  'an event of %s without a type, or of one that nobody knows, is never merged',
  (format) => {
    const delta = JSON.parse(deltaOf(format)) as Record<string, unknown>;
    const { type, ...rest } = delta;
    const merges = (payload: unknown): boolean => {
      const same = run(`event: x\ndata: ${JSON.stringify(payload)}\n\n`);
      return createCoalesce(formats[format].delta)(same, same) !== undefined;
    };
    expect(merges(delta)).toBe(true);
    expect(merges(rest)).toBe(false);
    expect(merges({ ...rest, type: `${String(type)}s` })).toBe(false);
    expect(merges({ ...rest, type: null })).toBe(false);
  },
);

/** Names that no format has, and those of some format, most often where they are not. */
const unknownNames = [
  'token_ids',
  'thinking_blocks',
  'reasoning_items',
  'citations',
  'x',
  'thoughtSignature',
];
const knownNames = [
  'id',
  'index',
  'type',
  'role',
  'content',
  'text',
  'thinking',
  'delta',
  'usage',
  'logprobs',
];
const otherNames = ['created', 'obfuscation', 'sequence_number', 'model', 'usageMetadata', 'prompt_tokens'];

const scalars = ['7', '0', '"na"', '""', 'null', 'true', 'false'];
const fieldOf = fc
  .oneof(
    fc.tuple(fc.constantFrom(...unknownNames), fc.constantFrom(...valuesThatMayAddUp, ...plainValues)),
    fc.tuple(fc.constantFrom(...knownNames, ...otherNames), fc.constantFrom(...scalars)),
  )
  .map(([name, value]) => `"${name}":${value}`);
const oddOf = fc.array(fc.tuple(fc.nat(40), fieldOf), { minLength: 1, maxLength: 2 });

const payloadOf = (wire: WireEvent): string | undefined =>
  typeof wire === 'string' ? wire : 'data' in wire ? wire.data : undefined;

/** Streams of the events of a format, many of them twice or more, some with fields that nobody knows. */
function streamOf(format: FormatName): fc.Arbitrary<string[]> {
  const plain = fixtures[format]
    .flatMap(({ events }) => events.map(payloadOf))
    .filter((data) => data !== undefined);
  const step = fc.record({
    data: fc.oneof(fc.constantFrom(deltaOf(format)), fc.constantFrom(...plain)),
    odd: fc.option(fc.nat(1), { freq: 2 }),
    times: fc.integer({ min: 1, max: 3 }),
  });
  // Few of them, so that neighbours have the same.
  const odds = fc.tuple(oddOf, oddOf);
  return fc.tuple(odds, fc.array(step, { minLength: 2, maxLength: 20 })).map(([both, steps]) =>
    steps.flatMap(({ data, odd, times }) => {
      const fields = odd === null ? [] : (both[odd] ?? []);
      const text = fields.reduce((json, [place, field]) => withFieldAt(json, place, field), data);
      return Array.from({ length: times }, () => text);
    }),
  );
}

test.each(formatNames)(
  'promise 9: whoever adds up all that no rule of %s names gets the same of the merged stream',
  async (format) => {
    const { wire } = accumulators[format];
    if (wire === undefined) throw new Error(`nobody reads ${format} by hand`);
    let before = 0;
    let after = 0;
    await checkProperty(
      `unknown values: ${format}`,
      fc.asyncProperty(streamOf(format), lag, async (payloads, pattern) => {
        const bytes = encoder.encode(toEvents(format, payloads, true).join(''));
        const raw = send(format, bytes, keepsUp);
        const expected = await wire(raw);
        for (const how of [lagsFully, pattern]) {
          const sent = send(format, bytes, how);
          expect(await wire(sent)).toEqual(expected);
          before += readWire(raw).length;
          after += readWire(sent).length;
        }
      }),
      400,
    );
    // It is about streams that are merged.
    expect(after).toBeLessThan(before * 0.9);
  },
);
