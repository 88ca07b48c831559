import { type Carry, checkInOrder } from './carry.ts';

/**
 * The yardstick: a ring with nothing but a promise hand-off between one producer and one consumer. No weights, no
 * policies, no end, no errors; what was taken is not released.
 */
class BareRing {
  readonly #slots: number[];
  readonly #mask: number;
  #head = 0;
  #tail = 0;
  #wakeProducer: (() => void) | undefined;
  #wakeConsumer: (() => void) | undefined;

  constructor(capacity: number) {
    this.#slots = new Array<number>(capacity).fill(0);
    this.#mask = capacity - 1;
  }

  put(item: number): boolean {
    if (this.#head - this.#tail > this.#mask) return false;
    this.#slots[this.#head & this.#mask] = item;
    this.#head += 1;
    if (this.#wakeConsumer !== undefined) {
      this.#wakeConsumer();
      this.#wakeConsumer = undefined;
    }
    return true;
  }

  take(): number | undefined {
    if (this.#head === this.#tail) return undefined;
    const item = this.#slots[this.#tail & this.#mask];
    this.#tail += 1;
    if (this.#wakeProducer !== undefined && this.#head === this.#tail) {
      this.#wakeProducer();
      this.#wakeProducer = undefined;
    }
    return item;
  }

  /** For a producer that could not put: resolves when all was taken. */
  room(): Promise<void> {
    return new Promise((resolve) => (this.#wakeProducer = resolve));
  }

  /** For a consumer that could not take: resolves with the next item. */
  items(): Promise<void> {
    return new Promise((resolve) => (this.#wakeConsumer = resolve));
  }
}

export const putAndTake: Carry = async (count, capacity) => {
  const ring = new BareRing(capacity);
  const produce = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      while (!ring.put(item)) await ring.room();
    }
  };
  const consume = async (): Promise<void> => {
    let inOrder = 0;
    while (inOrder < count) {
      for (let item = ring.take(); item !== undefined; item = ring.take()) {
        if (item === inOrder) inOrder += 1;
      }
      if (inOrder < count) await ring.items();
    }
    checkInOrder(inOrder, count);
  };
  await Promise.all([produce(), consume()]);
};

/** With an await for every item on both sides, as `write` and `for await` have. */
export const awaited: Carry = async (count, capacity) => {
  const ring = new BareRing(capacity);
  const produce = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      for (let isIn = ring.put(item); ; isIn = ring.put(item)) {
        await (isIn ? undefined : ring.room());
        if (isIn) break;
      }
    }
  };
  const consume = async (): Promise<void> => {
    let inOrder = 0;
    for (let taken = 0; taken < count;) {
      const item = ring.take();
      await (item === undefined ? ring.items() : undefined);
      if (item === undefined) continue;
      taken += 1;
      if (item === inOrder) inOrder += 1;
    }
    checkInOrder(inOrder, count);
  };
  await Promise.all([produce(), consume()]);
};
