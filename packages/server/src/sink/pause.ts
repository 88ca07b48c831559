import type { ServerClock } from '../time/server-clock.ts';

/** A wait between two writes: for a time, or until `end` is called. One wait at a time. */
export class Pause {
  readonly #clock: Pick<ServerClock, 'soon'>;
  #ended: PromiseWithResolvers<void> | undefined;
  #isTimed = false;

  constructor(clock: Pick<ServerClock, 'soon'>) {
    this.#clock = clock;
  }

  /** Whether a wait for a time is on. */
  get isTimed(): boolean {
    return this.#isTimed;
  }

  /** Resolves when `end` is called, or after `maxMs`. */
  wait(maxMs?: number): Promise<void> {
    const ended = (this.#ended ??= Promise.withResolvers<void>());
    if (maxMs !== undefined) {
      this.#isTimed = true;
      this.#clock.soon(maxMs, () => {
        if (this.#ended === ended) this.end();
      });
    }
    return ended.promise;
  }

  end(): void {
    this.#isTimed = false;
    this.#ended?.resolve();
    this.#ended = undefined;
  }
}
