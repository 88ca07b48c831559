import { type Carry, checkInOrder, ten } from './carry.ts';

/** The yardstick for many consumers: the bare ring, with a cursor for each. */
class SharedRing {
  readonly #slots: number[];
  readonly #mask: number;
  readonly #cursors: RingCursor[] = [];
  head = 0;
  /** Up to here the producer may put. */
  #end: number;
  /** How many cursors wait. */
  waiting = 0;
  #wakeProducer: (() => void) | undefined;

  constructor(capacity: number) {
    this.#slots = new Array<number>(capacity).fill(0);
    this.#mask = capacity - 1;
    this.#end = capacity;
  }

  cursor(): RingCursor {
    const cursor = new RingCursor(this);
    this.#cursors.push(cursor);
    return cursor;
  }

  put(item: number): boolean {
    if (this.head === this.#end) return false;
    this.#slots[this.head & this.#mask] = item;
    this.head += 1;
    if (this.waiting > 0) {
      this.waiting = 0;
      for (const cursor of this.#cursors) cursor.wake();
    }
    return true;
  }

  at(position: number): number | undefined {
    return this.#slots[position & this.#mask];
  }

  /** For a producer that could not put: resolves when everybody has taken all. */
  room(): Promise<void> {
    return new Promise((resolve) => (this.#wakeProducer = resolve));
  }

  /** A cursor has taken all. */
  emptied(): void {
    if (this.#wakeProducer === undefined) return;
    for (const { next } of this.#cursors) if (next !== this.head) return;
    this.#end = this.head + this.#mask + 1;
    this.#wakeProducer();
    this.#wakeProducer = undefined;
  }
}

class RingCursor {
  readonly #ring: SharedRing;
  next = 0;
  #wake: (() => void) | undefined;

  constructor(ring: SharedRing) {
    this.#ring = ring;
  }

  take(): number | undefined {
    const ring = this.#ring;
    if (this.next === ring.head) return undefined;
    const item = ring.at(this.next);
    this.next += 1;
    if (this.next === ring.head) ring.emptied();
    return item;
  }

  /** For a consumer that could not take: resolves with the next item. */
  items(): Promise<void> {
    this.#ring.waiting += 1;
    return new Promise((resolve) => (this.#wake = resolve));
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

export const putAndTake: Carry = async (count, capacity) => {
  const ring = new SharedRing(capacity);
  const produce = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      while (!ring.put(item)) await ring.room();
    }
  };
  const consume = async (cursor: RingCursor): Promise<void> => {
    let inOrder = 0;
    while (inOrder < count) {
      for (let item = cursor.take(); item !== undefined; item = cursor.take()) {
        if (item === inOrder) inOrder += 1;
      }
      if (inOrder < count) await cursor.items();
    }
    checkInOrder(inOrder, count);
  };
  await Promise.all([...ten(() => ring.cursor()).map(consume), produce()]);
};
