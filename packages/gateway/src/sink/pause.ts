/** A wait between two writes: for a time, or until somebody ends it. One at a time. */
export class Pause {
  #ended: PromiseWithResolvers<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Whether a wait for a time lasts. */
  get isTimed(): boolean {
    return this.#timer !== undefined;
  }

  /** Resolves when it is ended, at the latest after that time. */
  wait(maxMs?: number): Promise<void> {
    this.#ended ??= Promise.withResolvers<void>();
    if (maxMs !== undefined) this.#timer = setTimeout(() => this.end(), maxMs);
    return this.#ended.promise;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#ended?.resolve();
    this.#ended = undefined;
  }
}
