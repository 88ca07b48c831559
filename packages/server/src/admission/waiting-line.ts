/** What can wait in a {@link WaitingLine}. */
interface Waiting {
  /** Whether it has left the line: it is passed over. */
  readonly hasLeft: boolean;
}

/**
 * Those that wait, the oldest first. Whoever leaves from the midst is only counted, and passed over later: no step takes
 * longer because many wait. What has left takes room for as many as wait, and 32 more, at most.
 */
export class WaitingLine<Item extends Waiting> {
  #items: Item[] = [];
  /** The items before it have left. */
  #begin = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#count += 1;
  }

  /** Call it when an item has left. */
  left(): void {
    this.#count -= 1;
    if (this.#items.length > 2 * this.#count + 32) {
      this.#items = [...this.items()];
      this.#begin = 0;
    }
  }

  /** The oldest; `undefined`: nobody waits. */
  get first(): Item | undefined {
    while (this.#items[this.#begin]?.hasLeft === true) this.#begin += 1;
    return this.#items[this.#begin];
  }

  /** The newest; `undefined`: nobody waits. */
  get last(): Item | undefined {
    while (this.#items.length > this.#begin && this.#items.at(-1)?.hasLeft === true) this.#items.pop();
    return this.#items.length > this.#begin ? this.#items.at(-1) : undefined;
  }

  /** All of them, the oldest first. */
  *items(): Generator<Item> {
    for (let at = this.#begin; at < this.#items.length; at += 1) {
      const item = this.#items[at];
      if (item !== undefined && !item.hasLeft) yield item;
    }
  }
}
