import type { ReaderRow, StreamRow } from '../../packages/server/src/console/snapshot.ts';

export type StallCause = NonNullable<StreamRow['stallCause']>;

export const causes = [
  'link',
  'credit',
  'connection_lost',
  'event_memory',
  'tap',
  'burst',
] as const satisfies readonly StallCause[];

/** What keeps a reader from getting more, for people. */
export const causeTexts: Readonly<
  Record<StallCause, { readonly short: string; readonly one: string; readonly many: string }>
> = {
  link: { short: 'link', one: 'slow link', many: 'slow links' },
  credit: { short: 'credit', one: 'no credit', many: 'no credit' },
  connection_lost: { short: 'lost', one: 'connection lost', many: 'connections lost' },
  event_memory: { short: 'memory', one: 'no room for a large event', many: 'no room for large events' },
  tap: { short: 'tap', one: 'a tap that lags', many: 'taps that lag' },
  burst: { short: 'burst', one: 'burst', many: 'bursts' },
};

/** What a cause means, and so what to look at. */
export const causeHints: Readonly<Record<StallCause, string>> = {
  link: 'its connection takes less than the model makes',
  credit: 'its program has not acknowledged what it has',
  connection_lost: 'its connection is gone, and it may come back',
  event_memory: 'its large event finds no room beside those of all streams (maxEventMemoryBytes)',
  tap: 'a tap that may lose nothing has not taken it yet',
  burst: 'more came at once than its window holds',
};

/** What keeps a reader from getting more, for people; `undefined`: nothing. */
export function whyOf({ isLost, isPaused, waitsFor }: ReaderRow): string | undefined {
  // Its program does something else, and its connection answers. A longer word does not fit beside its lag.
  if (isPaused) return 'paused';
  const cause = isLost ? 'connection_lost' : waitsFor;
  return cause === null ? undefined : causeTexts[cause].one;
}

/** `slow links (2), no credit (1)`, the most frequent first. */
export function countCauses(found: readonly (StallCause | null)[], otherText: string): string {
  const counts = new Map<StallCause | null, number>();
  for (const cause of found) counts.set(cause, (counts.get(cause) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([cause, count]) => {
      const text = cause === null ? otherText : causeTexts[cause][count === 1 ? 'one' : 'many'];
      return counts.size === 1 && found.length === 1 ? text : `${text} (${count})`;
    })
    .join(', ');
}
