import { overloaded } from '@spillway/server/errors';

export interface AdmissionOptions {
  /** How many places there are. Minimum 1. */
  readonly maxStreams: number;
  /** How many may wait beside them. Minimum 0; one more is refused. */
  readonly maxWaiting: number;
}

/** Gives out so many places, first come first served; a bounded number waits for one. */
export class Admission {
  readonly #options: AdmissionOptions;
  #taken = 0;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Waits for a place, which is the caller's until {@link leave}.
   *
   * @throws {GatewayError} `overloaded` at once when too many wait already.
   * @throws the signal's reason as soon as it is aborted; there is no place then.
   */
  async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { maxStreams, maxWaiting } = this.#options;
    if (this.#taken < maxStreams) {
      this.#taken += 1;
      return;
    }
    if (this.#waiting.size >= maxWaiting) {
      const message = `${maxStreams} streams run or are still read (maxStreams) and ${maxWaiting} requests wait (maxWaiting).`;
      throw overloaded(message);
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(take);
        reject(signal.reason as Error);
      };
      const take = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.add(take);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a place back, or to whoever has waited for longest. */
  leave(): void {
    for (const take of this.#waiting) {
      this.#waiting.delete(take);
      take();
      return;
    }
    this.#taken -= 1;
  }
}
