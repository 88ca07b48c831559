/**
 * How many have each rank, from 1, and how many a rank up to some number: both in the logarithm of the largest rank (a
 * Fenwick tree: Peter Fenwick, "A new data structure for cumulative frequency tables", 1994).
 */
export class RankCounts {
  /** The number at index i counts the ranks above i − (the lowest bit of i), up to i. The last index is a power of two. */
  #tree = new Int32Array(33);

  /** Adds `count`, which may be negative, to those with that rank. */
  add(rank: number, count: number): void {
    while (rank >= this.#tree.length) this.#double();
    for (let at = rank; at < this.#tree.length; at += at & -at)
      this.#tree[at] = (this.#tree[at] ?? 0) + count;
  }

  /** How many have that rank or a lower one. */
  upTo(rank: number): number {
    let sum = 0;
    for (let at = Math.min(rank, this.#tree.length - 1); at > 0; at -= at & -at) sum += this.#tree[at] ?? 0;
    return sum;
  }

  /** How many have a higher rank. */
  above(rank: number): number {
    return this.upTo(Infinity) - this.upTo(rank);
  }

  #double(): void {
    const last = this.#tree.length - 1;
    const tree = new Int32Array(2 * last + 1);
    tree.set(this.#tree);
    // The last one counts all.
    tree[2 * last] = tree[last] ?? 0;
    this.#tree = tree;
  }
}
