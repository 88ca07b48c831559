/** Checks what one reader gets, piece by piece, and notes how long it waited. Times are milliseconds. */
export class Watch {
  readonly #expected: string;
  readonly #startedMs = performance.now();
  #lastMs = this.#startedMs;
  #characters = 0;
  /** From the request, tries included, to the first piece of text; so far, if there was none yet. */
  #firstMs: number | undefined;
  #longestGapMs = 0;

  constructor(expected: string) {
    this.#expected = expected;
  }

  get hasBegun(): boolean {
    return this.#firstMs !== undefined;
  }

  get waitedMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** Of those that have begun, what they waited for; of others, how long they wait already. */
  get firstMs(): number {
    return this.#firstMs ?? this.waitedMs;
  }

  get longestGapMs(): number {
    return this.#longestGapMs;
  }

  get characters(): number {
    return this.#characters;
  }

  /** @throws if it is not what follows what came before. */
  add(text: string): void {
    if (!this.#expected.startsWith(text, this.#characters)) {
      throw new WrongTextError(`expected other text than it got at character ${this.#characters}`);
    }
    this.#characters += text.length;
    if (this.#firstMs === undefined) this.#firstMs = this.waitedMs;
    else this.pause();
    this.#lastMs = performance.now();
  }

  /** Notes the time since the last piece: at the end of the stream, or of the watching. */
  pause(): void {
    if (this.hasBegun) this.#longestGapMs = Math.max(this.#longestGapMs, performance.now() - this.#lastMs);
  }

  /** @throws if something is missing. */
  end(): void {
    this.pause();
    if (this.#characters === this.#expected.length) return;
    throw new Error(`expected ${this.#expected.length} characters, got ${this.#characters} and an end`);
  }
}

/** A reader got other text than the model's. */
export class WrongTextError extends Error {
  override readonly name = 'WrongTextError';
}
