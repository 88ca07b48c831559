import { overloaded } from '@spillway/server/errors';

export interface AdmissionOptions {
  /** The number of places. Minimum 1. */
  readonly maxStreams: number;
  /** The requests that may wait for a place. Minimum 0; one more is refused. */
  readonly maxWaiting: number;
}

/** Gives out `maxStreams` places, first come first served. A bounded number of requests waits for one. */
export class Admission {
  readonly #options: AdmissionOptions;
  #taken = 0;
  /** The waiting requests, the oldest first. */
  readonly #waiting = new Set<() => void>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Waits for a place. The caller has the place until it calls {@link release}.
   *
   * @throws {GatewayError} `overloaded` at once if too many requests wait already.
   * @throws the signal's reason as soon as it is aborted; the caller then has no place.
   */
  async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { maxStreams, maxWaiting } = this.#options;
    if (this.#taken < maxStreams) {
      this.#taken += 1;
      return;
    }
    if (this.#waiting.size >= maxWaiting) {
      const message = `Every place is taken: ${maxStreams} for streams that run or are still read (maxStreams), ${maxWaiting} for requests that wait (maxWaiting).`;
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

  /** Gives a place to the request that has waited longest; without one, the place is free. */
  release(): void {
    for (const take of this.#waiting) {
      this.#waiting.delete(take);
      take();
      return;
    }
    this.#taken -= 1;
  }
}
