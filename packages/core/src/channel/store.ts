import type { Entry } from './chunk-log.ts';
import type { TakeLimits } from './bounds.ts';

/**
 * A chunk as a store keeps it. It stands for the chunks with the offsets in [from, to): more than one if
 * they were merged. `bytes` and `ms` are its weight and duration, `time` when it was written, in
 * milliseconds on the channel's clock (0 if the channel does not measure age).
 */
export type StoredChunk<T> = Entry<T>;

/**
 * A place outside the channel, for what a reader has not read: memory elsewhere, a file, Redis, a log.
 * The rules have numbers; `storeRules` of `@spillway/core/testing` proves each of them for a store.
 *
 * Appends come one at a time, reads too; a read or a trim may come while an append is under way. Whoever
 * calls waits for as long as the store takes, so a store bounds its own time: an operation that cannot
 * be done rejects, and is not repeated.
 */
export interface Store<T> {
  /**
   * Adds chunks behind what is there. (1) Resolved means kept: a read that begins later finds them, equal
   * to what was given and in order. (2) Offsets ascend, with or without holes; chunks that do not lie
   * behind everything that was ever appended reject with `out_of_order`, and none of them is kept. (3)
   * No chunks are fine. (4) After `seal` it rejects with `store_sealed`.
   */
  append(chunks: readonly StoredChunk<T>[]): Promise<void>;
  /**
   * (5) The chunks whose `from` is this offset or a later one, in order, as many as the limits allow but
   * at least one if there is one; (6) none, at once, when there is none: it does not wait. (7) An offset
   * that was trimmed rejects with `history_gone`.
   */
  read(from: number, limits?: TakeLimits): Promise<StoredChunk<T>[]>;
  /**
   * (8) Lets go of the chunks that end at or before this offset. (9) Safe to repeat, with any offset; an
   * earlier one than before does nothing, and one beyond the end does not hinder what is appended there.
   */
  trim(before: number): Promise<void>;
  /** (10) Nothing will be appended any more. Reads and trims go on. Safe to call twice. */
  seal(): Promise<void>;
}
