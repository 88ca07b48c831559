import type { Credit } from '../credit/credit.ts';
import type { Merge } from '../merge.ts';
import type { MergedEntry } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import type { Gate } from './gate.ts';
import type { Overflow } from './overflow.ts';
import type { Bounds } from './bounds.ts';
import type { Pressure, ReaderEnd } from './reader.ts';
import type { SpillPolicy } from './spill-policy.ts';

/** The parts of a channel that its readers need. */
export interface ReaderHost<T, Hosted> {
  readonly end: ReaderEnd | undefined;
  /** The channel's `merge`, if it has one. */
  readonly merge: Merge<T> | undefined;
  /** The write that waits for room. */
  readonly pending: { readonly bytes: number; readonly ms: number } | undefined;
  /** Whether a merge is under way. Entries are then being moved, so cursors must not be. */
  readonly isInMerge: boolean;
  /** Whether entries are trimmed as soon as every reader has passed them. */
  readonly keepsNothing: boolean;
  /** Merges two neighbours, or refuses with `undefined`. */
  mergeEntries(first: T, second: T): MergedEntry<T> | undefined;
  /** Called when a reader begins to wait for a chunk. */
  waits(): void;
  /** Called when a reader's wait is over. */
  wasWoken(): void;
  /** Called when a reader's cursor moved: entries may be trimmed, and a pending write may go on. */
  moved(from: number, to: number): void;
  /** The position up to which the reader at `position` stays the only slowest one; 0 if it is not. */
  aloneTo(position: number): number;
  left(reader: Hosted): void;
  /** Called when a reader has passed a mark: the noted room ends at that mark. */
  forgetRoom(): void;
  /** Called when a reader's bounds or its room changed. */
  changed(): void;
  now(): number;
}

/** A reader's options, complete and checked. */
export interface ChannelReaderOptions<T> {
  readonly overflow: Overflow | SpillPolicy<T>;
  readonly merges: boolean;
  readonly bounds: Bounds;
  readonly credit: readonly Credit[];
  readonly gates: readonly Gate[];
  readonly onDrop: ((chunk: T, from: number, to: number) => void) | undefined;
  readonly onGap: ((gap: Gap) => void) | undefined;
  readonly onCreditBlocked: (() => void) | undefined;
  readonly onPressure: ((pressure: Pressure) => void) | undefined;
  readonly highWatermark: number;
  readonly lowWatermark: number;
}
