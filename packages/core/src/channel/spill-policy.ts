import type { SpillwayError } from '../errors.ts';
import type { Backlog } from './backlog.ts';
import type { Bounds } from './bounds.ts';
import type { Entry } from './chunk-log.ts';
import type { Store } from './store.ts';

/** The overflow policy `spill` with its store; made by {@link spillTo}. */
export interface SpillPolicy<T> {
  /** Where chunks go that do not fit into memory. */
  readonly store: Store<T>;
  /** Called by the channel, for one reader. */
  readonly open: (owner: SpillOwner, bounds: Bounds) => Spill<T>;
}

/** Whom a spill tells, which is its reader. */
export interface SpillOwner {
  /** Something was stored or read back: there is room, or something to take. */
  spillChanged(): void;
  spillFailed(error: SpillwayError): void;
}

/** What a reader that spills has in its store and on the way there and back. */
export interface Spill<T> extends Backlog<T> {
  /** Chunks are appended now: no others can be. */
  readonly isAppending: boolean;
  /** Stores chunks behind what is there. Resolves also when the store fails: the owner is told. */
  append(entries: readonly Entry<T>[]): Promise<void>;
  /** Reads back what comes next. */
  fetch(): Promise<void>;
  /** Nothing more will be appended. */
  seal(): Promise<void>;
}
