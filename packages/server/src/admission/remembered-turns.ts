/** As many names in each of the two halves. */
const half = 500;

/**
 * When tenants were served last that neither have a place nor wait. The latest 500 that left are known, 1000 at most: who is
 * forgotten counts as one that was never served, and comes before all others with as few places. Two halves, of which the older
 * one is thrown away as a whole: no step takes longer because many are known.
 */
export class RememberedTurns {
  #older = new Map<string, number>();
  #newer = new Map<string, number>();

  /** Which of all places was the latest of that tenant; 0: not known. */
  of(name: string): number {
    return this.#newer.get(name) ?? this.#older.get(name) ?? 0;
  }

  set(name: string, served: number): void {
    this.#newer.set(name, served);
    if (this.#newer.size < half) return;
    this.#older = this.#newer;
    this.#newer = new Map();
  }
}
