import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import type { ReadEntry } from './kafka-mock.ts';

/** The records of entries, as a reader that knows only their headers finds them: what is there twice is there twice. */
export function joinEntries(entries: readonly ReadEntry[]): SinkRecord[] {
  const joiner = new RecordJoiner<number>();
  return entries.flatMap(({ headers, offset, value }) => {
    const { part, parts, seq, stream = '' } = headers;
    const joined = joiner.add(
      { stream, seq: Number(seq), part: Number(part), parts: Number(parts), value },
      offset,
    );
    // A record is written whole when its last part is: one whose last part comes twice is one too many.
    if (joined.kind === 'known' && Number(part) === Number(parts) - 1)
      return [{ stream, seq: Number(seq), value: new Uint8Array(value) }];
    return joined.kind === 'record' ? [joined.record] : [];
  });
}
