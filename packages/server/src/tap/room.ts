/** Room for so many things, or bytes. */
export class Room {
  readonly #size: number;
  #taken = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** Takes room; `false`: there is not as much. */
  take(amount = 1): boolean {
    if (this.#taken + amount > this.#size) return false;
    this.#taken += amount;
    return true;
  }

  release(amount = 1): void {
    this.#taken -= amount;
  }
}
