import fc from 'fast-check';
import { expect, test } from 'vitest';
import { maxParts, RecordJoiner, type RecordPart, RefusedRecords, splitRecord } from '../src/engine/index.ts';
import type { SinkRecord } from '../src/index.ts';
import { checkProperty } from './support/property.ts';

function recordOf(stream: string, seq: number, length: number): SinkRecord {
  return { stream, seq, value: Uint8Array.from({ length }, (_, index) => (index * 7 + seq) % 256) };
}

/** Adds parts by their places, and returns the records that came whole. */
function join(joiner: RecordJoiner<number>, parts: readonly RecordPart[]): SinkRecord[] {
  return parts.flatMap((part, place) => {
    const joined = joiner.add(part, place);
    return joined.kind === 'record' ? [joined.record] : [];
  });
}

test('a record that fits is its only part, and is not copied', () => {
  const record = recordOf('a', 3, 10);
  const [part, ...others] = splitRecord(record, 10);
  expect(others).toEqual([]);
  expect(part).toEqual({ ...record, part: 0, parts: 1 });
  expect(part?.value).toBe(record.value);
  expect(splitRecord(recordOf('a', 0, 0), 10)).toHaveLength(1);
});

test('a larger one has parts of at most so many bytes, which are views of it', () => {
  const record = recordOf('a', 3, 25);
  const parts = splitRecord(record, 10);
  expect(parts.map(({ part, parts: count, value }) => [part, count, value.length])).toEqual([
    [0, 3, 10],
    [1, 3, 10],
    [2, 3, 5],
  ]);
  expect(parts.every(({ value }) => value.buffer === record.value.buffer)).toBe(true);
});

test('too many parts are refused, and numbers that no part has', () => {
  expect(() => splitRecord(recordOf('a', 0, maxParts + 1), 1)).toThrow(
    expect.objectContaining({ code: 'invalid_option' }),
  );
  const joiner = new RecordJoiner<number>();
  const value = new Uint8Array(1);
  for (const [part, parts] of [
    [1, 1],
    [-1, 2],
    [0.5, 2],
    [0, 0],
    [0, maxParts + 1],
    [0, NaN],
  ] as const) {
    expect(() => joiner.add({ stream: 'a', seq: 0, part, parts, value }, 0), `${part} of ${parts}`).toThrow(
      expect.objectContaining({ code: 'invalid_option' }),
    );
  }
  expect(joiner.heldBytes).toBe(0);
});

test('records are put together, whatever order and however often their parts come', async () => {
  await checkProperty(
    'record parts: any order, some twice',
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.nat(60)), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.nat(), { minLength: 50, maxLength: 50 }),
      (made, maxBytes, chance) => {
        const counts = new Map<string, number>();
        const records = made.map(([stream, length]) => {
          const seq = counts.get(stream) ?? 0;
          counts.set(stream, seq + 1);
          return recordOf(stream, seq, length);
        });
        const joiner = new RecordJoiner<RecordPart>();
        const whole: SinkRecord[] = [];
        const places: RecordPart[] = [];
        for (const record of records) {
          // In any order, and some of them twice.
          const parts = splitRecord(record, maxBytes);
          const order = [...parts, ...parts.slice(0, 2)].toSorted(
            (one, other) => (chance[one.part % 50] ?? 0) - (chance[other.part % 50] ?? 0),
          );
          for (const part of order) {
            const joined = joiner.add(part, part);
            if (joined.kind === 'record') {
              whole.push(joined.record);
              places.push(...joined.places);
            } else if (joined.kind === 'known') places.push(joined.place);
          }
        }
        expect(whole).toEqual(records);
        expect(joiner.heldBytes).toBe(0);
        expect(joiner.takeLost()).toEqual([]);
        // Every part's place is told, once for each time that it came.
        const expected = records.reduce(
          (sum, record) =>
            sum + splitRecord(record, maxBytes).length + Math.min(2, splitRecord(record, maxBytes).length),
          0,
        );
        expect(places).toHaveLength(expected);
      },
    ),
  );
});

test('parts of several streams come among each other', () => {
  const [a, b] = [recordOf('a', 0, 20), recordOf('b', 0, 20)];
  const [a0, a1] = splitRecord(a, 10);
  const [b0, b1] = splitRecord(b, 10);
  const parts = [a0, b0, a1, b1].filter((part) => part !== undefined);
  expect(join(new RecordJoiner<number>(), parts)).toEqual([a, b]);
});

test('a record whose rest does not come is lost when a later one of its stream is whole', () => {
  const joiner = new RecordJoiner<number>();
  const [first, , third] = splitRecord(recordOf('a', 0, 30), 10);
  if (first === undefined || third === undefined) throw new Error('expected three parts');
  expect(join(joiner, [first, third, ...splitRecord(recordOf('b', 0, 5), 10)])).toHaveLength(1);
  expect(joiner.takeLost()).toEqual([]);
  expect(join(joiner, splitRecord(recordOf('a', 1, 5), 10))).toHaveLength(1);
  expect(joiner.takeLost()).toEqual([{ stream: 'a', seq: 0, places: [0, 1] }]);
  expect(joiner.takeLost()).toEqual([]);
  expect(joiner.heldBytes).toBe(0);
  // Its other part comes late: the stream is beyond it.
  const [, second] = splitRecord(recordOf('a', 0, 30), 10);
  if (second === undefined) throw new Error('expected three parts');
  expect(joiner.add(second, 9)).toEqual({ kind: 'known', place: 9 });
});

test('what the engine has removed is lost', () => {
  const joiner = new RecordJoiner<number>();
  const [, second] = splitRecord(recordOf('a', 0, 20), 10);
  if (second === undefined) throw new Error('expected two parts');
  joiner.add(second, 5);
  joiner.dropOlder((place) => place < 5);
  expect(joiner.takeLost()).toEqual([]);
  joiner.dropOlder((place) => place < 6);
  expect(joiner.takeLost()).toEqual([{ stream: 'a', seq: 0, places: [5] }]);
});

test('held bytes ≤ maxBytes, but for one record that is larger', () => {
  const joiner = new RecordJoiner<number>({ maxBytes: 100 });
  for (let stream = 0; stream < 20; stream += 1) {
    const parts = splitRecord(recordOf(`s${stream}`, 0, 60), 30);
    joiner.add(parts[0] ?? { ...recordOf('x', 0, 1), part: 0, parts: 1 }, stream);
    expect(joiner.heldBytes).toBeLessThanOrEqual(100);
  }
  expect(joiner.takeLost().map(({ stream }) => stream)).toEqual(
    Array.from({ length: 17 }, (_, stream) => `s${stream}`),
  );
  const large = recordOf('large', 0, 500);
  expect(join(joiner, splitRecord(large, 30))).toEqual([large]);
  expect(joiner.heldBytes).toBe(0);
});

test('a record that comes again is known, for as many streams as are remembered', () => {
  const joiner = new RecordJoiner<number>({ maxStreams: 2 });
  const kindOf = (stream: string): string =>
    joiner.add({ ...recordOf(stream, 0, 1), part: 0, parts: 1 }, 0).kind;
  expect(['a', 'b', 'a', 'b'].map(kindOf)).toEqual(['record', 'record', 'known', 'known']);
  expect(['c', 'a'].map(kindOf)).toEqual(['record', 'record']);
});

test('refused records are named, and their values are not', () => {
  const record = { stream: 'a', seq: 4, value: new TextEncoder().encode('a secret') };
  const error = new RefusedRecords([
    { record, reason: 'too odd' },
    { record, reason: 'also' },
  ]);
  expect(error.code).toBe('records_refused');
  expect(error.message).toBe('The engine refuses record 4 of the stream a and 1 more for ever: too odd');
});
