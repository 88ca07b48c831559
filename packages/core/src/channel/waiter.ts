/** The code that waits for a reader's next item: a callback, a promise, or both. */
export class Waiter {
  #callback: (() => void) | undefined;
  #resolve: ((hasNext: boolean) => void) | undefined;
  #promise: Promise<boolean> | undefined;

  get isWaiting(): boolean {
    return this.#callback !== undefined || this.#promise !== undefined;
  }

  /** Returns one promise to all callers of one wait. */
  promise(): Promise<boolean> {
    // Not `Promise.withResolvers`, because that takes three times as long.
    this.#promise ??= new Promise((resolve) => (this.#resolve = resolve));
    return this.#promise;
  }

  /** Sets the callback. A later callback replaces an earlier one. */
  callBack(callback: () => void): void {
    this.#callback = callback;
  }

  end(hasNext: boolean): void {
    const callback = this.#callback;
    const resolve = this.#resolve;
    this.#callback = undefined;
    this.#resolve = undefined;
    this.#promise = undefined;
    resolve?.(hasNext);
    callback?.();
  }
}
