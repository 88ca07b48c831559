/**
 * A request's body, held until its provider has begun to answer: then it is never sent again, and a long prompt should
 * not be kept for as long as the answer takes.
 */
export class HeldBody {
  #parts: readonly Buffer[];
  /** Gives back the room that it takes; called once. */
  release: (() => void) | undefined;

  /** Without parts: a request that has no body. */
  constructor(parts: readonly Buffer[]) {
    this.#parts = parts;
  }

  /** One behind the other; none: there is no body (any more). */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  /** Nobody will need it again. */
  letGo(): void {
    this.#parts = [];
    this.release?.();
    this.release = undefined;
  }
}
