import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { parseRecord, type TapRecord } from '../../src/tap/tap-record.ts';

/** A sink in memory, which a test can make slow, hang and fail. */
export class MemorySink implements RecordSink {
  readonly durability = 'memory';
  readonly kept: SinkRecord[] = [];
  writes = 0;
  isClosed = false;
  /** What a write waits for. */
  pause: (() => Promise<void>) | undefined;
  failure: string | undefined;

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    this.writes += 1;
    if (this.pause !== undefined) await Promise.race([this.pause(), aborted(signal)]);
    if (this.failure !== undefined) throw new SpillwayError('sink_failed', this.failure);
    for (const record of records) {
      if (this.kept.some(({ seq, stream }) => seq === record.seq && stream === record.stream)) continue;
      this.kept.push(record);
    }
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  records(stream?: string): TapRecord[] {
    return this.kept
      .map(({ value }) => parseRecord(value))
      .filter((record) => stream === undefined || record.stream === stream);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** The bytes of a stream's answer, as records have them. */
export function dataOf(records: readonly TapRecord[]): string {
  return records.map((record) => (record.kind === 'chunks' ? (record.data ?? '') : '')).join('');
}
