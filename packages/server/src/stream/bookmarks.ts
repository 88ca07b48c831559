import type { Gap, Overflow, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { BodyHold } from '../memory/request-memory.ts';

/** Where a reader stood that was ended for holding back its credit, and may come back. */
export interface Bookmark {
  /** The client's name for the reader. The client gives it again when it comes back. */
  readonly name: string | undefined;
  /** The offset where the reader stood. */
  readonly offset: number;
  /** The reader's own policy: with `disconnect` the provider never waits for the bookmark. */
  readonly overflow: Overflow;
  /** Opens a cursor in the channel at the bookmark. The cursor keeps chunks after it, and nothing is merged across it. */
  readonly openAt: (offset: number, overflow: Overflow) => Reader<EventRun | Gap>;
  /** The bytes that one run of several events may have for the reader. */
  readonly maxRunBytes: number;
  /** The reader's place among those that hold back their credit. These places bound the number of bookmarks. */
  readonly place: BodyHold;
}

interface Kept {
  readonly bookmark: Bookmark;
  readonly sinceMs: number;
  cursor: Reader<EventRun | Gap>;
  /** Whether the provider waits for this bookmark. */
  isHeld: boolean;
}

/** The bookmarks of one stream. */
export class Bookmarks {
  readonly #kept = new Set<Kept>();
  /** When the latest bookmark was added. */
  lastAddedMs = Number.NEGATIVE_INFINITY;
  readonly #onRemoved: () => void;

  /** `onRemoved` is called for each removed bookmark: `maxRunBytes` may have changed. */
  constructor(onRemoved: () => void) {
    this.#onRemoved = onRemoved;
  }

  /** Call this before the reader detaches: afterwards its waiting chunks may be merged or dropped. */
  add(bookmark: Bookmark, nowMs: number): void {
    const { offset, openAt, overflow } = bookmark;
    const isHeld = overflow !== 'disconnect';
    this.#kept.add({ bookmark, sinceMs: nowMs, cursor: openAt(offset, overflow), isHeld });
    this.lastAddedMs = nowMs;
  }

  /** Whether the provider waits for a bookmark. */
  get areHeld(): boolean {
    for (const { isHeld } of this.#kept) if (isHeld) return true;
    return false;
  }

  /** The smallest `maxRunBytes` of all bookmarks. */
  get maxRunBytes(): number {
    let smallest = Infinity;
    for (const { bookmark } of this.#kept) smallest = Math.min(smallest, bookmark.maxRunBytes);
    return smallest;
  }

  /** Whether a bookmark's reader would still take the chunk at that offset. */
  awaits(offset: number): boolean {
    for (const { cursor } of this.#kept) if (cursor.end === undefined && offset >= cursor.offset) return true;
    return false;
  }

  /** The reader of that name is back, with a cursor of its own. Readers of other names leave the bookmark alone. */
  cameBack(name: string): void {
    for (const kept of this.#kept) if (kept.bookmark.name === name) this.#remove(kept);
  }

  /**
   * Call this while the model is at work. After `graceMs` the provider no longer waits for a bookmark. The bookmark
   * stays until the chunks after it exceed the window.
   */
  tick(nowMs: number, graceMs: number): void {
    for (const kept of this.#kept) {
      const { bookmark, cursor, isHeld, sinceMs } = kept;
      if (cursor.end !== undefined) this.#remove(kept);
      else if (isHeld && nowMs - sinceMs >= graceMs) {
        kept.cursor = bookmark.openAt(cursor.offset, 'disconnect');
        kept.isHeld = false;
        cursor.detach();
      }
    }
  }

  /** Removes all bookmarks. */
  clear(): void {
    for (const kept of this.#kept) this.#remove(kept);
  }

  #remove(kept: Kept): void {
    this.#kept.delete(kept);
    kept.bookmark.place.release();
    kept.cursor.detach();
    this.#onRemoved();
  }
}
