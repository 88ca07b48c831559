/** Entries from one offset to another one, both included. */
export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}

/** Less than what brokers keep beside an offset (`offset.metadata.max.bytes`). */
const maxNoteLength = 4000;
const version = 'done:';

/**
 * What is done behind a place, as a text that Kafka keeps beside it. Ranges that have no room are left out: they would come
 * again.
 */
export function writeNote(ranges: readonly OffsetRange[]): string {
  let note = '';
  for (const { from, to } of ranges) {
    const next = `${note === '' ? version : `${note},`}${from}-${to}`;
    if (next.length > maxNoteLength) break;
    note = next;
  }
  return note;
}

/** Reads such a text. Any other is that of another program, and says nothing. */
export function readNote(note: string): OffsetRange[] {
  if (!/^done:\d+-\d+(?:,\d+-\d+)*$/.test(note)) return [];
  return note
    .slice(version.length)
    .split(',')
    .map((range) => {
      const [from, to] = range.split('-').map(Number);
      return { from: from ?? 0, to: to ?? 0 };
    });
}
