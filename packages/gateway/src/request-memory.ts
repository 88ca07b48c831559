/** Counts the request bodies that are held, so that all together stay within a bound. */
export class RequestMemory {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes room for a body that is about to come, and returns the function that gives it back;
   * `undefined` when there is none. A single body is always let in when nothing else is held.
   */
  reserve(bytes: number): (() => void) | undefined {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) return undefined;
    this.#bytes += bytes;
    let isHeld = true;
    return () => {
      if (isHeld) this.#bytes -= bytes;
      isHeld = false;
    };
  }
}
