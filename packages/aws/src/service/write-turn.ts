import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';

/**
 * The writes of a sink, one at a time, and its close. An aborted write rejects at once; what it had begun is aborted, too, and
 * the next write waits until it is settled.
 */
export class WriteTurn implements Pick<RecordSink, 'close' | 'write'> {
  readonly #name: string;
  readonly #work: (records: readonly SinkRecord[], signal: AbortSignal) => Promise<void>;
  readonly #release: () => Promise<void>;
  /** The write that is not settled; never rejects. */
  #write: Promise<unknown> = Promise.resolve();
  /** What a write has begun, and is under way although that was aborted; never rejects. */
  #under: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * @param name names the sink in errors.
   * @param work must settle soon after its signal is aborted.
   */
  constructor(
    name: string,
    work: (records: readonly SinkRecord[], signal: AbortSignal) => Promise<void>,
    release: () => Promise<void>,
  ) {
    this.#name = name;
    this.#work = work;
    this.#release = release;
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    const write = this.#do(records, signal);
    this.#write = write.catch(() => undefined);
    return write;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#write;
      await this.#under;
      await this.#release();
    })();
    return this.#closing;
  }

  async #do(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    this.#expectOpen();
    signal.throwIfAborted();
    while (this.#under !== undefined) {
      await unlessAborted(this.#under, signal);
      this.#expectOpen();
    }
    const work = this.#work(records, signal);
    this.#under = work
      .catch(() => undefined)
      .finally(() => {
        this.#under = undefined;
      });
    await unlessAborted(work, signal);
  }

  #expectOpen(): void {
    if (this.#closing === undefined) return;
    throw new SpillwayError('sink_closed', `${this.#name} is closed: expected no more records.`);
  }
}

/** Settles as the promise does, or rejects with the signal's reason as soon as it is aborted. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    if (signal.aborted) abort();
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
