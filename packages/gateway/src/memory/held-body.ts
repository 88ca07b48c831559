/**
 * A request's body, held until its provider has begun to answer. After that it is never sent again, and a
 * long prompt must not stay in memory for as long as the answer takes.
 */
export class HeldBody {
  #parts: readonly Buffer[];
  /** Releases the memory that the body counts with; called once. */
  onRelease: (() => void) | undefined;

  #nameModel: ((model: string) => readonly Buffer[]) | undefined;

  /**
   * Without parts, the request has no body. `nameModel`: the parts with a model's name in them; `undefined`: the body is sent
   * as it is.
   */
  constructor(parts: readonly Buffer[], nameModel?: (model: string) => readonly Buffer[]) {
    this.#parts = parts;
    this.#nameModel = nameModel;
  }

  /** Names the model that the next provider knows. Does nothing after `release`. */
  nameModel(model: string): void {
    if (this.#nameModel !== undefined) this.#parts = this.#nameModel(model);
  }

  /** The parts in order; empty if there is no body, or after `release`. */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  /** Drops the body: it is not needed again. */
  release(): void {
    this.#parts = [];
    this.#nameModel = undefined;
    this.onRelease?.();
    this.onRelease = undefined;
  }
}
