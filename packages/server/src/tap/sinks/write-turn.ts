import { SpillwayError } from '@spillway/core';

/**
 * The writes of a sink, one at a time, and its close. What an aborted write has begun goes on, because no disk takes
 * back what it was told; the next write waits for that.
 */
export class WriteTurn {
  readonly #name: string;
  /** The write that is not settled; never rejects. */
  #write: Promise<void> | undefined;
  /** What a write has begun, and may be under way although the write was aborted; never rejects. */
  #work: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param name names the sink in errors. */
  constructor(name: string) {
    this.#name = name;
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Does the work of one write. Rejects with the signal's reason when it is aborted, whatever the work does; and with
   * `sink_closed` when the sink is closed before the work has begun.
   */
  write(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const write = this.#do(signal, work);
    this.#write = write.catch(() => undefined);
    return write;
  }

  /**
   * Closes the turn. Calls `release` once, when the write under way is settled, with what that may have left under way;
   * resolves when that is done, each time.
   */
  close(release: (work: Promise<void> | undefined) => Promise<void>): Promise<void> {
    this.#closing ??= (async () => {
      await this.#write;
      await release(this.#work);
    })();
    return this.#closing;
  }

  async #do(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    this.#checkOpen();
    signal.throwIfAborted();
    while (this.#work !== undefined) {
      await unlessAborted(this.#work, signal);
      this.#checkOpen();
    }
    const done = work();
    this.#work = done
      .catch(() => undefined)
      .finally(() => {
        this.#work = undefined;
      });
    await unlessAborted(done, signal);
  }

  #checkOpen(): void {
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
