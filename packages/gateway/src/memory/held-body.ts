/**
 * A request's body, held until its provider has begun to answer. After that it is never sent again, and a
 * long prompt must not stay in memory for as long as the answer takes.
 */
export class HeldBody<Read = unknown> {
  #parts: readonly Buffer[];
  #read: Read | undefined;
  /** Releases the memory that the body counts with; called once. */
  onRelease: (() => void) | undefined;

  /** Without parts, the request has no body. `read`: what is read of it as long as it is held. */
  constructor(parts: readonly Buffer[], read?: Read) {
    this.#parts = parts;
    this.#read = read;
  }

  /** The parts in order; empty if there is no body, or after `release`. */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  /** What is read of it; `undefined`: nothing is, or it was released. */
  get read(): Read | undefined {
    return this.#read;
  }

  /** Drops the body: it is not needed again. */
  release(): void {
    this.#parts = [];
    this.#read = undefined;
    this.onRelease?.();
    this.onRelease = undefined;
  }
}
