import type { Passed } from './timed-pipe.ts';

/** How long the oldest byte of what has arrived at a moment was on its way. */
export interface LinkDelay {
  readonly atMs: number;
  readonly ms: number;
}

/** What a link did to the bytes that were given to it, in order. */
export function delaysOf(given: readonly Passed[], arrived: readonly Passed[]): LinkDelay[] {
  let index = 0;
  let before = 0;
  return arrived.map(({ atMs, bytes }) => {
    while ((given[index]?.bytes ?? Infinity) <= before) index += 1;
    before = bytes;
    return { atMs, ms: atMs - (given[index]?.atMs ?? atMs) };
  });
}

/** The longest delay of what arrived between two moments; 0 if nothing did. */
export function longestDelayMs(delays: readonly LinkDelay[], fromMs: number, toMs: number): number {
  return Math.max(0, ...delays.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map(({ ms }) => ms));
}
