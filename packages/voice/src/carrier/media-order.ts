/** Audio that is held for what should come before it: 100 ms of the usual frames. */
const maxHeld = 5;

/**
 * Puts numbered audio in order, where a carrier does not promise it. What comes too early waits for what is missing, until
 * more than 5 pieces wait: then what is missing is taken for lost. What comes after that is dropped.
 */
export class MediaOrder<T> {
  readonly #held = new Map<number, T>();
  #next: number | undefined;

  /** Takes a piece, and returns those whose turn it is. */
  push(chunk: number, piece: T): readonly T[] {
    this.#next ??= chunk;
    if (chunk < this.#next) return [];
    this.#held.set(chunk, piece);
    if (!this.#held.has(this.#next) && this.#held.size > maxHeld) this.#next = Math.min(...this.#held.keys());
    const due: T[] = [];
    for (let one = this.#held.get(this.#next); one !== undefined; one = this.#held.get(this.#next)) {
      due.push(one);
      this.#held.delete(this.#next);
      this.#next += 1;
    }
    return due;
  }

  /** Returns all that is held, in order: nothing more comes. */
  flush(): readonly T[] {
    const rest = [...this.#held].toSorted(([a], [b]) => a - b).map(([, piece]) => piece);
    this.#held.clear();
    return rest;
  }
}
