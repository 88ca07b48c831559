import type { SinkRecord } from '../sink-record.ts';

/**
 * Says what is wrong with records that came: each that was made has to be among them once, equal, and in order within its
 * stream. `undefined`: nothing is wrong.
 *
 * @param made all records, by stream.
 * @param mayMiss which of them may be missing. Default: none.
 */
export function differenceOf(
  came: readonly SinkRecord[],
  made: ReadonlyMap<string, readonly SinkRecord[]>,
  mayMiss: (record: SinkRecord) => boolean = () => false,
): string | undefined {
  const found = Map.groupBy(came, ({ stream }) => stream);
  for (const stream of found.keys()) {
    if (!made.has(stream)) return `expected no record of a stream ${stream}, got some`;
  }
  for (const [stream, all] of made) {
    const ofStream = found.get(stream) ?? [];
    const numbers = new Set(ofStream.map(({ seq }) => seq));
    const expected = all.filter((record) => numbers.has(record.seq) || !mayMiss(record));
    const problem = differenceInStream(ofStream, expected);
    if (problem !== undefined) return `stream ${stream}: ${problem}`;
  }
  return undefined;
}

function differenceInStream(
  came: readonly SinkRecord[],
  expected: readonly SinkRecord[],
): string | undefined {
  const numbers = (records: readonly SinkRecord[]): string => records.map(({ seq }) => seq).join(' ');
  if (numbers(came) !== numbers(expected))
    return `expected the records ${numbers(expected)}, got ${numbers(came)}`;
  const at = came.findIndex(({ value }, index) => !areEqual(value, expected[index]?.value));
  if (at === -1) return undefined;
  return `record ${came[at]?.seq}: expected the ${expected[at]?.value.length} bytes that were written, got ${came[at]?.value.length} others`;
}

function areEqual(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return one.length === other?.length && one.every((byte, index) => byte === other[index]);
}
