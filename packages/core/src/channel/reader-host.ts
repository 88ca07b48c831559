import type { Credit } from '../credit/credit.ts';
import type { Merge } from '../merge.ts';
import type { MergedEntry } from './chunk-log.ts';
import type { Gap } from './gap.ts';
import type { Overflow } from './overflow.ts';
import type { Bounds } from './bounds.ts';
import type { Pressure, ReaderEnd } from './reader.ts';
import type { SpillPolicy } from './spill-policy.ts';

/** What a reader needs from its channel. */
export interface ReaderHost<T, Hosted> {
  readonly end: ReaderEnd | undefined;
  /** Of chunks, where neighbours can ever be merged. */
  readonly merge: Merge<T> | undefined;
  /** The write that waits for room. */
  readonly pending: { readonly bytes: number; readonly ms: number } | undefined;
  /** Whether a merge is under way: entries are being moved, and cursors may not be. */
  readonly isInMerge: boolean;
  /** Whether nothing is kept once every reader has passed it. */
  readonly keepsNothing: boolean;
  /** Merges two neighbours, or refuses with `undefined`. */
  mergeEntries(first: T, second: T): MergedEntry<T> | undefined;
  /** A reader waits for a chunk. */
  waits(): void;
  /** It does not any more. */
  wasWoken(): void;
  /** The reader's cursor moved: chunks may be let go, a writer may go on. */
  moved(from: number, to: number): void;
  /** The position up to which nobody else is as slow as the reader that stands there; 0 for no such reader. */
  aloneTo(position: number): number;
  left(reader: Hosted): void;
  /** A mark has been passed: where the next one is, was noted otherwise. */
  forgetRoom(): void;
  /** The reader has other bounds than before, or more room. */
  changed(): void;
  now(): number;
}

/** A reader's options, complete and checked. */
export interface ChannelReaderOptions<T> {
  readonly overflow: Overflow | SpillPolicy<T>;
  readonly merges: boolean;
  readonly bounds: Bounds;
  readonly credit: readonly Credit[];
  readonly onDrop: ((chunk: T, from: number, to: number) => void) | undefined;
  readonly onGap: ((gap: Gap) => void) | undefined;
  readonly onCreditBlocked: (() => void) | undefined;
  readonly onPressure: ((pressure: Pressure) => void) | undefined;
  readonly highWatermark: number;
  readonly lowWatermark: number;
}
