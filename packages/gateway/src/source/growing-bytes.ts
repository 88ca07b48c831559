/**
 * Collects bytes in one buffer that doubles. A list of a million small pieces would cost a hundred times
 * their bytes.
 */
export class GrowingBytes {
  readonly #maxBytes: number;
  readonly #onGrow: (bytes: number) => void;
  #memory = Buffer.alloc(0);
  #length = 0;

  /** `onGrow` is called with a number of bytes before they are allocated; it may throw. */
  constructor(maxBytes: number, onGrow: (bytes: number) => void = () => undefined) {
    this.#maxBytes = maxBytes;
    this.#onGrow = onGrow;
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes so far; valid only until `add` is called. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  /** Adds a copy of `bytes`. `length` + the bytes added must be ≤ `maxBytes`. */
  add(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#memory.length) {
      const size = Math.min(this.#maxBytes, Math.max(needed, 2 * this.#memory.length));
      this.#onGrow(size - this.#memory.length);
      const grown = Buffer.allocUnsafeSlow(size);
      this.#memory.copy(grown, 0, 0, this.#length);
      this.#memory = grown;
    }
    this.#memory.set(bytes, this.#length);
    this.#length = needed;
  }
}
