/** A heap whose items may change their order while they are in it: each step takes the logarithm of their number. */
export class IndexedHeap<Item> {
  /** The item at index i comes before those at 2i + 1 and 2i + 2. */
  readonly #items: Item[] = [];
  readonly #indexes = new Map<Item, number>();
  readonly #compare: (a: Item, b: Item) => number;

  /** `compare` < 0: `a` comes before `b`. */
  constructor(compare: (a: Item, b: Item) => number) {
    this.#compare = compare;
  }

  get first(): Item | undefined {
    return this.#items[0];
  }

  add(item: Item): void {
    this.#put(item, this.#items.length);
    this.moved(item);
  }

  /** Call it when the order of one item has changed, before that of another changes. */
  moved(item: Item): void {
    const at = this.#indexes.get(item);
    if (at !== undefined && !this.#rise(item, at)) this.#sink(item, at);
  }

  delete(item: Item): void {
    const at = this.#indexes.get(item);
    const last = this.#items.pop();
    if (at === undefined || last === undefined) return;
    this.#indexes.delete(item);
    if (last === item) return;
    this.#put(last, at);
    this.moved(last);
  }

  #rise(item: Item, from: number): boolean {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = this.#items[above];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      this.#put(parent, at);
      at = above;
    }
    this.#put(item, at);
    return at !== from;
  }

  #sink(item: Item, from: number): void {
    let at = from;
    for (;;) {
      const left = this.#items[2 * at + 1];
      const right = this.#items[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && this.#compare(right, left) < 0;
      const before = isRight ? right : left;
      if (this.#compare(item, before) <= 0) break;
      this.#put(before, at);
      at = 2 * at + (isRight ? 2 : 1);
    }
    this.#put(item, at);
  }

  #put(item: Item, at: number): void {
    this.#items[at] = item;
    this.#indexes.set(item, at);
  }
}
