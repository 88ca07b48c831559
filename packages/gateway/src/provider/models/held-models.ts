import type { BodyHold } from '@spillway/server/memory/request-memory';

/** One provider's models as one credential sees them. Many answers share their bytes, which count until the last lets go. */
export class HeldModels {
  /** JSON objects with commas between them; empty if there is none. */
  readonly bytes: Buffer;
  readonly #hold: BodyHold;
  #confirmedMs = performance.now();
  /** Whoever keeps it, and whoever sends it. */
  #users = 1;

  constructor(bytes: Buffer, hold: BodyHold) {
    this.bytes = bytes;
    this.#hold = hold;
  }

  /** The time since the provider said so, in milliseconds. */
  get ageMs(): number {
    return performance.now() - this.#confirmedMs;
  }

  /** The provider said the same again. */
  confirm(): void {
    this.#confirmedMs = performance.now();
  }

  /** Keeps the bytes until `letGo` is called once more. */
  use(): this {
    this.#users += 1;
    return this;
  }

  letGo(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#hold.release();
  }
}
