import type { Durability } from '@spillway/core';

/**
 * The grades, the least first. A tap takes its own and those behind it. `replicated` does not stand a power failure of all
 * machines, and `fsync` does: that is why it is less, although one disk may break.
 */
export const durabilities = ['memory', 'replicated', 'fsync'] as const satisfies readonly Durability[];

/** Whether a grade is at least another one. */
export function isAtLeast(durability: Durability, least: Durability): boolean {
  return durabilities.indexOf(durability) >= durabilities.indexOf(least);
}
