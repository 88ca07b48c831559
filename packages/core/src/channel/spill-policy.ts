import type { SpillwayError } from '../errors.ts';
import type { Backlog } from './backlog.ts';
import type { Bounds } from './bounds.ts';
import type { Entry } from './chunk-log.ts';
import type { Store } from './store.ts';

/** The overflow policy `spill` with its store; made by {@link spillTo}. */
export interface SpillPolicy<T> {
  /** Keeps the chunks that do not fit into memory. */
  readonly store: Store<T>;
  /** Called by the channel, once for each reader. */
  readonly open: (owner: SpillOwner, bounds: Bounds) => Spill<T>;
}

/** The reader of a {@link Spill}, as its spill sees it. */
export interface SpillOwner {
  /** Called when chunks were stored or read back: there is room, or something to take. */
  spillChanged(): void;
  spillFailed(error: SpillwayError): void;
}

/** The chunks of a reader that spills: in its store, being appended, and read back. */
export interface Spill<T> extends Backlog<T> {
  /** Whether an append is under way. Only one may be. */
  readonly isAppending: boolean;
  /** Appends entries to the store. Resolves also when the store fails, which the owner is told. */
  append(entries: readonly Entry<T>[]): Promise<void>;
  /** Reads the next chunks back from the store. */
  fetch(): Promise<void>;
  /** Seals the store: nothing more will be appended. */
  seal(): Promise<void>;
}
