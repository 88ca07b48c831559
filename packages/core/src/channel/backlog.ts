import type { Entry } from './chunk-log.ts';
import type { Gap } from './gap.ts';

/** What a reader takes before it comes to its cursor in the log: what it keeps for itself, or has spilled. */
export interface Backlog<T> {
  /** What comes next; `undefined` when there is nothing, or when it has to be fetched. */
  readonly first: Entry<T> | Gap | undefined;
  /** The next chunk, behind the gaps that come before it. */
  readonly firstEntry: Entry<T> | undefined;
  readonly isEmpty: boolean;
  /** The offset of what comes next. */
  readonly offset: number | undefined;
  /** When the oldest chunk was written. */
  readonly oldestTime: number | undefined;
  /** Entries in memory that are no gaps. */
  readonly items: number;
  /** The chunks that these stand for. */
  readonly chunks: number;
  readonly bytes: number;
  readonly ms: number;
  /** Entries that are in a store alone. */
  readonly storedItems: number;
  readonly storedChunks: number;
  readonly storedBytes: number;
  shift(): Entry<T> | Gap | undefined;
  /** Lets go of all that is there; more may come. Returns what was in memory, in order. */
  discard(): (Entry<T> | Gap)[];
  /** Nothing is wanted any more. */
  clear(): void;
}
