import type { Entry } from './chunk-log.ts';
import type { TakeLimits } from './bounds.ts';

/**
 * A chunk as a store keeps it. It stands for the chunks with the offsets in [from, to): more than one if they were
 * merged. `bytes` and `ms` are the chunk's weight and duration. `time` is when the chunk was written, in milliseconds
 * on the channel's clock (0 if the channel does not measure age).
 */
export type StoredChunk<T> = Entry<T>;

/**
 * Keeps a reader's unread chunks outside the channel: memory elsewhere, a file, Redis, a log. The rules have numbers;
 * `storeRules` of `@spillway/core/testing` proves each of them for a store.
 *
 * Appends come one at a time, reads too; a read or a trim may come while an append is under way. The caller sets no
 * deadline, so a store bounds its own time: an operation that cannot be done rejects, and is not repeated.
 */
export interface Store<T> {
  /**
   * Adds chunks after the stored ones. (1) Resolved means kept: a read that begins later finds the chunks, equal to the
   * given ones and in order. (2) Offsets ascend, with or without holes. Chunks that do not lie after everything that
   * was ever appended reject with `out_of_order`, and none of them is kept. (3) An empty list is accepted. (4) After
   * `seal` an append rejects with `store_sealed`.
   */
  append(chunks: readonly StoredChunk<T>[]): Promise<void>;
  /**
   * Reads chunks. (5) Returns the chunks whose `from` is this offset or a later one, in order, as many as the limits
   * allow but at least one if there is one. (6) Returns none, at once, when there is none: a read does not wait. (7) An
   * offset that was trimmed rejects with `history_gone`.
   */
  read(from: number, limits?: TakeLimits): Promise<StoredChunk<T>[]>;
  /**
   * Removes chunks. (8) Removes the chunks that end at or before this offset. (9) Safe to repeat, with any offset. An
   * earlier offset than before does nothing. An offset beyond the end does not hinder later appends there.
   */
  trim(before: number): Promise<void>;
  /** Seals the store. (10) Nothing will be appended any more. Reads and trims go on. Safe to call twice. */
  seal(): Promise<void>;
}
