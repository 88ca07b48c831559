/**
 * Carries the numbers from 0 to `count` through a bounded queue of that capacity, from one producer to every
 * consumer, and checks that each consumer got them all in order.
 */
export type Carry = (count: number, capacity: number) => Promise<void>;

/** A consumer counts the items that equal its count so far: it ends at `count` only if they came in order. */
export function checkInOrder(inOrder: number, count: number): void {
  if (inOrder !== count) throw new Error(`expected ${count} items in order, got ${inOrder}`);
}

/** The consumers of the cases with many. */
export function ten<T>(make: () => T): T[] {
  return Array.from({ length: 10 }, make);
}
