import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createCoalesce } from '../../src/format/coalesce.ts';
import type { FormatName } from '../../src/format/format.ts';
import { decodeRun, encodeRun } from '../../src/format/run-codec.ts';
import { type EventRun, EventScanner } from '../../src/format/sse.ts';
import { openChannel, spillTo, type Store } from '../../src/index.ts';
import type { Merge } from '../../src/merge.ts';
import { storeRules } from '../../src/testing/store-rules.ts';
import { FileStore } from '../support/file-store.ts';
import { formats } from '../support/formats.ts';
import { checkProperty } from '../support/property.ts';
import { fixtures, formatNames, readRecordings, toSse } from './fixtures.ts';

const streams = [
  ...formatNames.flatMap((format) =>
    fixtures[format].map(({ events, isCut, name }) => ({
      format,
      name,
      bytes: toSse(format, events, isCut),
    })),
  ),
  ...readRecordings().map(({ events, format, name }) => ({ format, name, bytes: toSse(format, events) })),
  // Lists that add up, and some that are empty.
  { format: 'openai-chat' as const, name: 'probabilities', bytes: probabilities() },
];

function probabilities(): Uint8Array {
  const events = Array.from({ length: 40 }, (_, at) => {
    const items = Array.from({ length: at % 3 }, (_item, of) => `{"token":"t","logprob":-${at}.${of}}`);
    const logprobs = `{"content":[${items.join(',')}],"refusal":null}`;
    return `{"choices":[{"index":0,"delta":{"content":"w${at} "},"logprobs":${logprobs}}]}`;
  });
  return toSse('openai-chat', events);
}

/** The runs that these pieces of a stream make, over and over. */
function runsOf(format: FormatName, bytes: Uint8Array, pieces: readonly number[]): EventRun[] {
  const runs: EventRun[] = [];
  const scanner = new EventScanner({ classify: formats[format].classify });
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = pieces[turn % pieces.length] ?? 1;
    scanner.push(bytes.slice(at, at + size), (run) => runs.push(run));
    at += size;
  }
  scanner.end((run) => runs.push(run));
  return runs;
}

/** All that anybody can tell of a run. */
function seen(run: EventRun | undefined): object | undefined {
  return (
    run && {
      text: Buffer.from(run.bytes).toString('latin1'),
      byteLength: run.byteLength,
      events: run.events,
      mergedEvents: run.mergedEvents ?? 0,
    }
  );
}

const again = (run: EventRun, format: FormatName): EventRun => decodeRun(encodeRun(run, format), format);

/** What is done with the runs of a stream, one step after the other. */
type Step =
  | { readonly what: 'all' | 'pair'; readonly at: number; readonly count: number }
  | { readonly what: 'encode'; readonly at: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ what: fc.constant('pair' as const), at: fc.nat({ max: 7 }), count: fc.constant(2) }),
  fc.record({
    what: fc.constant('all' as const),
    at: fc.nat({ max: 7 }),
    count: fc.integer({ min: 2, max: 12 }),
  }),
  fc.record({ what: fc.constant('encode' as const), at: fc.nat({ max: 7 }) }),
);

/** The runs of a stream, while neighbours are merged. */
class Line {
  readonly #merge: Merge<EventRun>;
  runs: EventRun[];

  constructor(runs: readonly EventRun[], format: FormatName, maxEventBytes: number) {
    this.#merge = createCoalesce(formats[format].delta, { maxEventBytes });
    this.runs = [...runs];
  }

  pair(at: number): void {
    const [first, second] = this.runs.slice(at, at + 2);
    const merged = first && second && this.#merge(first, second);
    if (merged !== undefined) this.runs.splice(at, 2, merged);
  }

  all(at: number, count: number): void {
    const merged = this.#merge.all?.(this.runs.slice(at, at + count), () => true) ?? [];
    this.runs.splice(at, count, ...merged.map(({ chunk }) => chunk));
  }
}

test('promise 9: a run that was encoded is merged as if it never had been', async () => {
  let encodedMerged = 0;
  await checkProperty(
    'run codec: merges',
    fc.property(
      fc.constantFrom(...streams),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom(300, 600, 2000, 16_384),
      fc.array(step, { minLength: 10, maxLength: 40 }),
      ({ bytes, format }, pieces, maxEventBytes, steps) => {
        const runs = runsOf(format, bytes, pieces).slice(0, 60);
        const kept = new Line(runs, format, maxEventBytes);
        const encoded = new Line(runs, format, maxEventBytes);
        const records: { readonly record: Uint8Array; readonly before: Buffer }[] = [];
        for (const todo of steps) {
          const at = todo.at % Math.max(1, kept.runs.length);
          if (todo.what === 'pair') {
            kept.pair(at);
            encoded.pair(at);
          } else if (todo.what === 'all') {
            kept.all(at, todo.count);
            encoded.all(at, todo.count);
          } else {
            const run = encoded.runs[at];
            if (run === undefined) continue;
            const record = encodeRun(run, format);
            records.push({ record, before: Buffer.from(record) });
            if ((run.mergedEvents ?? 0) > 0) encodedMerged += 1;
            const decoded = decodeRun(record, format);
            expect(seen(decoded)).toEqual(seen(kept.runs[at]));
            encoded.runs[at] = decoded;
          }
          expect(encoded.runs.map(seen)).toEqual(kept.runs.map(seen));
        }
        // To the end, with every second one decoded.
        for (let at = 0; at < encoded.runs.length; at += 2) {
          const run = encoded.runs[at];
          if (run !== undefined) encoded.runs[at] = again(run, format);
        }
        for (const line of [kept, encoded])
          for (let at = line.runs.length - 2; at >= 0; at -= 1) line.pair(at);
        expect(encoded.runs.map(seen)).toEqual(kept.runs.map(seen));
        // Merging changes nothing of what was kept.
        for (const { before, record } of records) expect(before.equals(record)).toBe(true);
      },
    ),
    400,
  );
  expect(encodedMerged).toBeGreaterThan(0);
});

test('encoded once more it is the same record', () => {
  for (const { bytes, format } of streams) {
    const line = new Line(runsOf(format, bytes, [700]), format, 2000);
    line.all(0, line.runs.length);
    for (const run of line.runs) {
      const record = encodeRun(run, format);
      expect(encodeRun(decodeRun(record, format), format)).toEqual(record);
    }
  }
});

test('a record is hardly larger than what it is of', () => {
  for (const { bytes, format } of streams) {
    for (const run of runsOf(format, bytes, [700]))
      expect(encodeRun(run, format).length).toBeLessThanOrEqual(run.byteLength + 8);
  }
  const [text] = fixtures['openai-chat'];
  const bytes = toSse('openai-chat', text?.events ?? []);
  const line = new Line(runsOf('openai-chat', bytes, [700]), 'openai-chat', 16_384);
  line.all(0, line.runs.length);
  const wire = line.runs.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const records = line.runs.reduce((sum, run) => sum + encodeRun(run, 'openai-chat').length, 0);
  expect(records).toBeLessThan(wire * 1.1);
});

test('what counts is kept of a run that others made, and without a format', () => {
  const bytes = Buffer.from(': ping\n\n');
  for (const run of [
    { bytes, byteLength: 8, events: 0 },
    { bytes, byteLength: 8, events: 3, mergedEvents: 2 ** 40 + 5 },
    { bytes: Buffer.alloc(0), byteLength: 0, events: 0 },
    { bytes: Buffer.alloc(100_000, 'x'), byteLength: 100_000, events: Number.MAX_SAFE_INTEGER },
  ]) {
    const decoded = decodeRun(encodeRun(run, undefined), undefined);
    expect(seen(decoded)).toEqual(seen(run));
    expect('mergedEvents' in decoded).toBe('mergedEvents' in run);
  }
});

describe('bytes that are no run', () => {
  const runs = runsOf('openai-chat', toSse('openai-chat', fixtures['openai-chat'][0]?.events ?? []), [700]);
  const line = new Line(runs, 'openai-chat', 16_384);
  line.all(0, 6);
  const [merged] = line.runs;
  const plain = runs[0];
  if (merged === undefined || plain === undefined) throw new Error('The fixture has too little.');
  const records = [encodeRun(merged, 'openai-chat'), encodeRun(plain, 'openai-chat')];
  const failing = (bytes: Uint8Array, format: FormatName | 'none' = 'openai-chat'): unknown => {
    try {
      decodeRun(bytes, format === 'none' ? undefined : format);
      return undefined;
    } catch (error) {
      return error;
    }
  };

  test('that were cut anywhere are refused', () => {
    for (const record of records) {
      for (let end = 0; end < record.length; end += 1)
        expect(failing(record.subarray(0, end)), `${end}`).toMatchObject({ code: 'invalid_run' });
    }
  });

  test('with something behind them are refused', () => {
    for (const record of records)
      expect(failing(Buffer.concat([record, Buffer.of(0)]))).toMatchObject({
        code: 'invalid_run',
        message: expect.stringContaining('1 bytes more') as string,
      });
  });

  test('of another version or format are refused with both names', () => {
    const [record = new Uint8Array()] = records;
    const newer = record.slice();
    newer[0] = 2;
    expect(failing(newer)).toMatchObject({
      code: 'unsupported_run',
      message: 'An encoded run: expected one of version 1, got version 2.',
    });
    expect(failing(record, 'gemini')).toMatchObject({
      code: 'unsupported_run',
      message: 'An encoded run: expected one of the format gemini, got openai-chat.',
    });
    expect(failing(record, 'none')).toMatchObject({ code: 'unsupported_run' });
    expect(failing(encodeRun(plain, undefined))).toMatchObject({ code: 'unsupported_run' });
    const unknown = record.slice();
    unknown[1] = 99;
    expect(failing(unknown)).toMatchObject({ code: 'unsupported_run' });
    expect(() => encodeRun(plain, 'telex' as FormatName)).toThrow(
      expect.objectContaining({ code: 'invalid_option' }),
    );
  });

  test.each([
    ['a length far beyond the end', [1, 3, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['a number beyond 2^53', [1, 3, 0, 1, 0, ...Array.from({ length: 8 }, () => 0xff), 0x01]],
    ['a number that never ends', [1, 3, 0, 1, 0, ...Array.from({ length: 1000 }, () => 0x80), 0]],
    ['nine parts', [1, 3, 10, 1, 0]],
    ['a hole behind its event', [1, 3, 2, 1, 0, 1, 2, 1, 0, 2, 1, 0x61, 0x62]],
    ['a hole of no kind', [1, 3, 2, 1, 0, 1, 2, 1, 3, 0, 1, 0x61, 0x62]],
    ['flags of no meaning', [1, 3, 2, 1, 0, 1, 2, 1, 32, 0, 1, 0x61, 0x62]],
    ['a value that grew by nothing', [1, 3, 2, 1, 0, 1, 2, 1, 16, 0, 1, 0, 0x61, 0x62]],
    ['an earlier one of what is replaced', [1, 3, 2, 1, 0, 1, 2, 0, 18, 0, 1, 1, 0x61, 0x62, 0x63]],
    ['a hole that grows and is not there', [1, 3, 2, 1, 0, 1, 2, 2, 0, 0, 1, 0x61, 0x62]],
    ['a hole that grows and is no text', [1, 3, 2, 1, 0, 1, 2, 1, 2, 0, 1, 0x61, 0x62]],
  ])('with %s are refused', (_what, bytes) => {
    expect(failing(Uint8Array.from(bytes))).toMatchObject({ code: 'invalid_run' });
  });

  test('where any bytes were changed are refused, or are a run that can be merged', async () => {
    const merge = createCoalesce(formats['openai-chat'].delta);
    await checkProperty(
      'run codec: damage',
      fc.property(
        fc.constantFrom(...records),
        fc.array(fc.tuple(fc.nat({ max: 80 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        (record, changes) => {
          const damaged = record.slice();
          for (const [at, value] of changes) damaged[at % damaged.length] = value;
          let run: EventRun;
          try {
            run = decodeRun(damaged, 'openai-chat');
          } catch (error) {
            expect(error).toMatchObject({
              code: expect.stringMatching(/^(invalid|unsupported)_run$/) as string,
            });
            return;
          }
          expect(run.bytes.length).toBe(run.byteLength);
          for (const joined of [merge(run, plain), merge(plain, run), merge(run, run)])
            if (joined !== undefined) expect(joined.bytes.length).toBe(joined.byteLength);
        },
      ),
      2000,
    );
  });
});

describe('a store on disk that keeps encoded runs', () => {
  let folder: string;
  beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'spillway-runs-'))));
  const opened: FileStore<EventRun>[] = [];
  afterAll(async () => {
    for (const store of opened) await store.close();
    await rm(folder, { recursive: true });
  });

  const open = (format: FormatName): FileStore<EventRun> => {
    const store = new FileStore<EventRun>(
      join(folder, randomUUID()),
      (run) => encodeRun(run, format),
      (bytes) => decodeRun(bytes, format),
    );
    opened.push(store);
    return store;
  };

  /** As the rules want it: each text is the bytes of a run. */
  function ofText(store: Store<EventRun>): Store<string> {
    return {
      append: (chunks) =>
        store.append(
          chunks.map((stored) => {
            const bytes = Buffer.from(stored.chunk);
            return { ...stored, chunk: { bytes, byteLength: bytes.length, events: 1 } };
          }),
        ),
      read: async (from, limits) =>
        (await store.read(from, limits)).map((stored) => ({
          ...stored,
          chunk: Buffer.from(stored.chunk.bytes).toString(),
        })),
      trim: (before) => store.trim(before),
      seal: () => store.seal(),
    };
  }

  for (const { check, name, number } of storeRules(() => ofText(open('gemini'))))
    test(`store rule ${number}: ${name}`, check);

  test.each(formatNames)('%s: a reader that spills there gets what was written', async (format) => {
    let merged = 0;
    for (const { bytes } of streams.filter((stream) => stream.format === format)) {
      const line = new Line(runsOf(format, bytes, [180, 900]), format, 2000);
      for (let at = 0; at < line.runs.length; at += 2) line.all(at, 3);
      const store = open(format);
      const channel = openChannel<EventRun>({ maxBytes: 3000, weigh: ({ byteLength }) => byteLength });
      const reader = channel.reader({ overflow: spillTo(store) });
      for (const run of line.runs) await channel.write(run);
      channel.complete();
      const read: EventRun[] = [];
      for await (const run of reader) read.push(run);
      expect(read.map(seen)).toEqual(line.runs.map(seen));
      // Not all of them were in the store: what is written last may still be in memory.
      merged += read.filter((run, at) => run !== line.runs[at] && (run.mergedEvents ?? 0) > 0).length;
    }
    expect(merged).toBeGreaterThan(0);
  });
});
