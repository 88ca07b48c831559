import PQueue from 'p-queue';
import { overloaded } from './errors.ts';

export interface AdmissionOptions {
  /** How many run at once. Minimum 1. */
  readonly maxStreams: number;
  /** How many may wait beside them. Minimum 0; one more is refused. */
  readonly maxWaiting: number;
}

/** Lets so many requests run at once, first come first served; a bounded number waits. */
export class Admission {
  readonly #queue: PQueue;
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#queue = new PQueue({ concurrency: options.maxStreams });
  }

  /**
   * Runs a task when there is a place for it.
   *
   * @throws {GatewayError} `overloaded` at once when too many wait already.
   * @throws the signal's reason as soon as it is aborted while the task waits.
   */
  run(task: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { maxStreams, maxWaiting } = this.#options;
    if (this.#queue.pending >= maxStreams && this.#queue.size >= maxWaiting) {
      const message = `${maxStreams} streams run (maxStreams) and ${maxWaiting} requests wait (maxWaiting).`;
      return Promise.reject(overloaded(message));
    }
    // Only the wait is aborted here. A task that runs hears of the signal itself, and holds its place
    // until it is really over.
    const waiting = new AbortController();
    const onAbort = (): void => waiting.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const start = (): Promise<void> => {
      signal.removeEventListener('abort', onAbort);
      return task();
    };
    return this.#queue.add(start, { signal: waiting.signal });
  }
}
