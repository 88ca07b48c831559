/**
 * A request's body, held until its provider has begun to answer. After that it is never sent again, and a
 * long prompt must not stay in memory for as long as the answer takes.
 */
export class HeldBody {
  #parts: readonly Buffer[];
  /** Releases the memory that the body counts with; called once. */
  onRelease: (() => void) | undefined;

  /** Without parts, the request has no body. */
  constructor(parts: readonly Buffer[]) {
    this.#parts = parts;
  }

  /** The parts in order; empty if there is no body, or after `release`. */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  /** Drops the body: it is not needed again. */
  release(): void {
    this.#parts = [];
    this.onRelease?.();
    this.onRelease = undefined;
  }
}
