import { type Durability, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { orAborted } from '@spillway/core/or-aborted';

/**
 * One sink for several taps that write to the same place: the one that streams began with, and the one that came with a
 * reload. It has one writer at a time, as its rules ask for, and is closed with the last tap.
 */
export class SharedSink {
  readonly #sink: RecordSink;
  #users = 0;
  /** Resolves when all writes so far are settled. */
  #settled: Promise<void> = Promise.resolve();

  constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  /** Whether some tap has it. Without one it is closed, and opens no more. */
  get isOpen(): boolean {
    return this.#users > 0;
  }

  /** The sink for one more tap. */
  share(): RecordSink {
    this.#users += 1;
    let isClosed = false;
    const sink = this.#sink;
    return {
      get durability(): Durability {
        return sink.durability;
      },
      write: async (records, signal) => {
        if (isClosed) throw new SpillwayError('sink_closed', 'The sink is closed.');
        await this.#write(records, signal);
      },
      close: async () => {
        if (isClosed) return;
        isClosed = true;
        this.#users -= 1;
        if (this.#users === 0) await this.#sink.close();
      },
    };
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const before = this.#settled;
    const written = Promise.withResolvers<void>();
    this.#settled = before.then(() => written.promise);
    try {
      await orAborted(before, signal);
      await this.#sink.write(records, signal);
    } finally {
      written.resolve();
    }
  }
}
