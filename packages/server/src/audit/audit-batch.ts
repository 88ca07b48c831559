import type { SinkRecord } from '@spillway/core';

/** Records on their way to another thread: one memory, which is handed over and not copied again. */
export interface AuditBatch {
  readonly streams: readonly string[];
  readonly seqs: readonly number[];
  /** Where each value ends in `bytes`; it begins where the one before ends. */
  readonly ends: readonly number[];
  readonly bytes: ArrayBuffer;
}

/** Copies records into one memory. */
export function packBatch(records: readonly SinkRecord[]): AuditBatch {
  const bytes = new Uint8Array(records.reduce((sum, { value }) => sum + value.length, 0));
  const ends: number[] = [];
  let end = 0;
  for (const { value } of records) {
    bytes.set(value, end);
    end += value.length;
    ends.push(end);
  }
  const streams = records.map(({ stream }) => stream);
  return { streams, seqs: records.map(({ seq }) => seq), ends, bytes: bytes.buffer };
}

/** The records of a batch, as views on its memory. */
export function unpackBatch({ bytes, ends, seqs, streams }: AuditBatch): SinkRecord[] {
  return ends.map((end, index) => {
    const start = ends[index - 1] ?? 0;
    return {
      stream: streams[index] ?? '',
      seq: seqs[index] ?? 0,
      value: new Uint8Array(bytes, start, end - start),
    };
  });
}
