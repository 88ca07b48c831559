/** Who waits for a reader's next item: whoever asked to be called back, and who has a promise. */
export class Waiter {
  #callback: (() => void) | undefined;
  #resolve: ((hasNext: boolean) => void) | undefined;
  #promise: Promise<boolean> | undefined;

  get isWaiting(): boolean {
    return this.#callback !== undefined || this.#promise !== undefined;
  }

  /** One promise for all who ask while one waits. */
  promise(): Promise<boolean> {
    // Not Promise.withResolvers, which takes three times as long.
    this.#promise ??= new Promise((resolve) => (this.#resolve = resolve));
    return this.#promise;
  }

  /** The later callback counts. */
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
