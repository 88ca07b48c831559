import { SpillwayError } from '../errors.ts';
import { orAborted } from '../or-aborted.ts';

/**
 * The writes of a sink, one at a time, and its close. What an aborted write has begun may go on, because no disk takes
 * back what it was told; the next write waits for that.
 *
 * @example
 *   readonly #turn = new WriteTurn('The sink');
 *
 *   write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
 *     return this.#turn.write(signal, () => this.#send(records, signal));
 *   }
 */
export class WriteTurn {
  readonly #name: string;
  /** The write that is not settled; never rejects. */
  #write: Promise<void> | undefined;
  /** What a write has begun, and may be under way although the write was aborted; never rejects. */
  #work: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param name names the sink in errors, at the beginning of a sentence. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** @throws {SpillwayError} `sink_closed`, when it is. */
  expectOpen(): void {
    if (this.#closing === undefined) return;
    throw new SpillwayError('sink_closed', `${this.#name} is closed: expected no more records.`);
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
    this.expectOpen();
    signal.throwIfAborted();
    while (this.#work !== undefined) {
      await orAborted(this.#work, signal);
      this.expectOpen();
    }
    const done = work();
    this.#work = done
      .catch(() => undefined)
      .finally(() => {
        this.#work = undefined;
      });
    await orAborted(done, signal);
  }
}
