import type { Clock } from '../clock.ts';
import type { ReplayWindow } from './channel-options.ts';
import type { ChannelReader } from './channel-reader.ts';
import type { ChunkLog } from './chunk-log.ts';
import { type Compactor, worthMerging } from './compactor.ts';

/** Trims the entries that every reader has passed, except for the replay window. */
export class Retention<T> {
  readonly #log: ChunkLog<T>;
  readonly #readers: readonly ChannelReader<T>[];
  readonly #replay: ReplayWindow | undefined;
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #compactor: () => Compactor<T> | undefined;
  /**
   * `slowest`: at most the number of readers at the slowest position. `slowestAt`: that position, with a replay window.
   * `nextSlowest`: the position of the next slowest reader.
   */
  #slowest = 0;
  #slowestAt = 0;
  #nextSlowest = 0;

  constructor(
    log: ChunkLog<T>,
    readers: readonly ChannelReader<T>[],
    replay: ReplayWindow | undefined,
    clock: Pick<Clock, 'nowMs'>,
    compactor: () => Compactor<T> | undefined,
  ) {
    this.#log = log;
    this.#readers = readers;
    this.#replay = replay;
    this.#clock = clock;
    this.#compactor = compactor;
  }

  moved(from: number, to: number): void {
    // Only the last reader that leaves the slowest position lets entries be trimmed.
    if (from === this.#slowestPosition) {
      this.#slowest -= 1;
      this.#nextSlowest = Math.min(this.#nextSlowest, to);
    }
    if (this.#readers.length === 1 && this.#replay === undefined) this.#log.trim(to);
    else if (this.#slowest <= 0) this.trim();
  }

  /** The position up to which the reader at `position` stays the only slowest one; 0 if it is not. */
  aloneTo(position: number): number {
    if (this.#readers.length === 1) return Infinity;
    return this.#slowest === 1 && position === this.#slowestPosition ? this.#nextSlowest : 0;
  }

  joined(): void {
    // No reader is alone at the slowest position any more. The slowest readers are counted again.
    for (const reader of this.#readers) reader.look();
    this.#slowest = 0;
    // Entries before the first reader's cursor can be trimmed.
    if (this.#readers.length === 1) this.trim();
  }

  left(position: number): void {
    if (position === this.#slowestPosition) this.#slowest -= 1;
    if (this.#slowest <= 0 || this.#readers.length === 0) this.trim();
  }

  /** Cursors have new positions, so the slowest readers have to be counted again. */
  compacted(): void {
    this.#slowest = 0;
  }

  /** Trims entries that are too old by now: time passes also while no cursor moves. */
  trimOld(): void {
    if (this.#replay?.maxAgeMs !== undefined) this.trim();
  }

  trim(): void {
    const log = this.#log;
    const replay = this.#replay;
    // Without readers and without a replay window, waiting chunks are kept for the next reader.
    if (this.#readers.length === 0 && replay === undefined) return;
    if (this.#isWithinReplay()) return;
    let slowest = log.head;
    this.#slowest = 0;
    this.#nextSlowest = slowest;
    for (const { position } of this.#readers) {
      if (position < slowest) {
        this.#nextSlowest = slowest;
        this.#slowest = 0;
        slowest = position;
      }
      if (position === slowest) this.#slowest += 1;
      else this.#nextSlowest = Math.min(this.#nextSlowest, position);
    }
    this.#slowestAt = slowest;
    for (const reader of this.#readers) if (reader.position === slowest) reader.look();
    if (replay === undefined) log.trim(slowest);
    else this.#trimTo(slowest, replay);
  }

  /**
   * The position of the slowest readers. Without a replay window this is the tail: a reader that is alone moves the
   * tail and does not report it.
   */
  get #slowestPosition(): number {
    return this.#replay === undefined ? this.#log.tail : this.#slowestAt;
  }

  /** Whether the replay window is not exceeded, wherever the cursors are. */
  #isWithinReplay(): boolean {
    const replay = this.#replay;
    if (replay === undefined || replay.maxAgeMs !== undefined) return false;
    const { maxBytes = Infinity, maxHeldBytes = Infinity, maxItems = Infinity, merges = false } = replay;
    const log = this.#log;
    if (log.head - log.tail > maxItems || log.heldBytes > Math.min(maxBytes, maxHeldBytes)) return false;
    if (!merges || log.heldBytes < maxHeldBytes * worthMerging) return true;
    return this.#compactor()?.hasFresh(log.head, maxHeldBytes) !== true;
  }

  /** Trims entries before the slowest reader that are beyond the replay window. */
  #trimTo(passed: number, replay: ReplayWindow): void {
    const log = this.#log;
    const { maxAgeMs = Infinity, maxBytes = Infinity, maxHeldBytes = Infinity, maxItems = Infinity } = replay;
    let slowest = passed;
    if (replay.merges === true) {
      slowest -= this.#compactor()?.compactKept(slowest, maxHeldBytes) ?? 0;
      // Waiting entries may be that large only because they are not merged yet.
      if (log.heldBytes > maxHeldBytes && log.bytesFrom(slowest) > maxHeldBytes / 2) {
        this.#compactor()?.compactWaiting();
      }
    }
    const oldestMs = maxAgeMs === Infinity ? -Infinity : this.#clock.nowMs() - maxAgeMs;
    const passedBytes = log.bytesBefore(slowest);
    while (
      log.tail < slowest &&
      (slowest - log.tail > maxItems ||
        passedBytes - log.bytesBefore(log.tail) > maxBytes ||
        log.heldBytes > maxHeldBytes ||
        log.timeAt(log.tail) < oldestMs)
    ) {
      log.trim(log.tail + 1);
    }
  }
}
