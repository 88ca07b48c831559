import { overloaded } from '@spillway/server/errors';

export interface AdmissionOptions {
  /** The number of places. Minimum 1. */
  readonly maxStreams: number;
  /** The requests that may wait for a place. Minimum 0; one more is refused. */
  readonly maxWaiting: number;
}

/** Who gets the next free place: of those that wait, the one with the highest priority. */
export type Priority = 'high' | 'low' | 'normal';

/**
 * Gives out `maxStreams` places: to those of high priority first, and among equals first come, first served. A bounded
 * number of requests waits for one.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  #taken = 0;
  /** The waiting requests, the highest priority first, and of each the oldest first. */
  readonly #waiting: Readonly<Record<Priority, Set<() => void>>> = {
    high: new Set(),
    normal: new Set(),
    low: new Set(),
  };

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** The places that are taken: ≤ `maxStreams` always. */
  get taken(): number {
    return this.#taken;
  }

  /** The requests that wait: ≤ `maxWaiting` always. */
  get waiting(): number {
    const { high, low, normal } = this.#waiting;
    return high.size + normal.size + low.size;
  }

  /**
   * Waits for a place. The caller has the place until it calls {@link release}.
   *
   * @param priority Default: `normal`.
   * @throws {GatewayError} `overloaded` at once if too many requests wait already.
   * @throws the signal's reason as soon as it is aborted; the caller then has no place.
   */
  async enter(signal: AbortSignal, priority: Priority = 'normal'): Promise<void> {
    signal.throwIfAborted();
    const { maxStreams, maxWaiting } = this.#options;
    if (this.#taken < maxStreams) {
      this.#taken += 1;
      return;
    }
    if (this.waiting >= maxWaiting) {
      const message = `Every place is taken: ${maxStreams} for streams that run or are still read (maxStreams), ${maxWaiting} for requests that wait (maxWaiting).`;
      throw overloaded(message);
    }
    const queue = this.#waiting[priority];
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        queue.delete(take);
        reject(signal.reason as Error);
      };
      const take = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      queue.add(take);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives a place to the request whose turn it is; without one, the place is free. */
  release(): void {
    for (const queue of Object.values(this.#waiting)) {
      const [take] = queue;
      if (take === undefined) continue;
      queue.delete(take);
      take();
      return;
    }
    this.#taken -= 1;
  }
}
