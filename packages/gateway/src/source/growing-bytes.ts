/** Bytes that are put together as they come, in one memory that doubles: a body in a million pieces would cost a hundred times its bytes. */
export class GrowingBytes {
  readonly #maxBytes: number;
  readonly #onGrow: (bytes: number) => void;
  #memory = Buffer.alloc(0);
  #length = 0;

  /** `onGrow` is told of memory before it is taken, in bytes; it may throw. */
  constructor(maxBytes: number, onGrow: (bytes: number) => void = () => undefined) {
    this.#maxBytes = maxBytes;
    this.#onGrow = onGrow;
  }

  get length(): number {
    return this.#length;
  }

  /** What came so far; only until more is added. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  /** Adds a copy. Together they must not be more than `maxBytes`. */
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
