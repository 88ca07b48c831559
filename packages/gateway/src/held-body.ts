/**
 * A request's body, held until its provider has begun to answer: then it is never sent again, and a long prompt should
 * not be kept for as long as the answer takes.
 */
export class HeldBody {
  #bytes: Buffer | null;
  /** Gives back the room that it takes; called once. */
  release: (() => void) | undefined;

  constructor(bytes: Buffer | null) {
    this.#bytes = bytes;
  }

  /** `null`: there is none (any more). */
  get bytes(): Buffer | null {
    return this.#bytes;
  }

  /** Nobody will need it again. */
  letGo(): void {
    this.#bytes = null;
    this.release?.();
    this.release = undefined;
  }
}
