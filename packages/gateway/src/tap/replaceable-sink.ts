import type { Durability, RecordSink, SinkRecord } from '@spillway/core';

/** What is behind a spill. A reload may replace it by another way to the same place; the spill and what is in it stay. */
export class ReplaceableSink implements RecordSink {
  #sink: RecordSink;
  /** Those that were replaced, until they have closed. */
  readonly #leaving = new Set<Promise<void>>();

  constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  get durability(): Durability {
    return this.#sink.durability;
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#sink.write(records, signal);
  }

  /** The next write goes to that one. The one before it is closed when its write under way has settled. */
  replace(sink: RecordSink): void {
    const leaving = this.#sink
      .close()
      .catch(() => undefined)
      .finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
    this.#sink = sink;
  }

  async close(): Promise<void> {
    await Promise.all([this.#sink.close(), ...this.#leaving]);
  }
}
