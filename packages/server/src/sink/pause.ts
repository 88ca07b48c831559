import { soon } from '../time/soon.ts';

/** A wait between two writes: for a time, or until somebody ends it. One at a time. */
export class Pause {
  #ended: PromiseWithResolvers<void> | undefined;
  #isTimed = false;

  /** Whether a wait for a time lasts. */
  get isTimed(): boolean {
    return this.#isTimed;
  }

  /** Resolves when it is ended, or after that time. */
  wait(maxMs?: number): Promise<void> {
    const ended = (this.#ended ??= Promise.withResolvers<void>());
    if (maxMs !== undefined) {
      this.#isTimed = true;
      soon(maxMs, () => {
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
