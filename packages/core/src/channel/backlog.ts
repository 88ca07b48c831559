import type { Entry } from './chunk-log.ts';
import type { Gap } from './gap.ts';

/**
 * The items that a reader takes before the entry at its cursor: chunks that the reader keeps for itself, or has
 * spilled.
 */
export interface Backlog<T> {
  /** The next item; `undefined` when there is none, or when it has to be fetched. */
  readonly first: Entry<T> | Gap | undefined;
  /** The next chunk, after any gaps before it. */
  readonly firstEntry: Entry<T> | undefined;
  readonly isEmpty: boolean;
  /** The offset of the next item. */
  readonly offset: number | undefined;
  /** When the oldest chunk was written. */
  readonly oldestTime: number | undefined;
  /** The number of entries in memory, without gaps. */
  readonly items: number;
  /** The number of chunks in those entries. */
  readonly chunks: number;
  readonly bytes: number;
  readonly ms: number;
  /** The number of entries that are only in a store. */
  readonly storedItems: number;
  readonly storedChunks: number;
  readonly storedBytes: number;
  shift(): Entry<T> | Gap | undefined;
  /** Discards all items; more may be added. Returns the items that were in memory, in order. */
  discard(): (Entry<T> | Gap)[];
  /** Discards all items for good: the reader has ended. */
  clear(): void;
}
