import type { Gap, Overflow, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { BodyHold } from '../memory/request-memory.ts';

/** How the place of a reader is kept that was let go and may come back. */
export interface Bookmark {
  /** By which its client names it when it comes back. */
  readonly name: string | undefined;
  /** Where it stood. */
  readonly offset: number;
  /** As the reader had it: `disconnect` never makes the provider wait. */
  readonly overflow: Overflow;
  /** Puts a cursor into the channel. Nothing is merged across it, and nothing behind it is let go of. */
  readonly openAt: (offset: number, overflow: Overflow) => Reader<EventRun | Gap>;
  /** The most that may come at once, of several events, to the reader. */
  readonly maxRunBytes: number;
  /** Its place among the readers that hold back their credit: so many bookmarks can there be. */
  readonly place: BodyHold;
}

interface Kept {
  readonly bookmark: Bookmark;
  readonly sinceMs: number;
  cursor: Reader<EventRun | Gap>;
  /** Whether the provider waits for it. */
  isHeld: boolean;
}

/** The places in one stream of readers that were let go and may come back. */
export class Bookmarks {
  readonly #kept = new Set<Kept>();
  /** When the latest was added. */
  lastAddedMs = Number.NEGATIVE_INFINITY;
  readonly #onRemoved: () => void;

  /** `onRemoved` is called when a bound may have gone with a place. */
  constructor(onRemoved: () => void) {
    this.#onRemoved = onRemoved;
  }

  /** Before its reader leaves: what waits for that one would be merged, or gone. */
  add(bookmark: Bookmark, nowMs: number): void {
    const { offset, openAt, overflow } = bookmark;
    const isHeld = overflow !== 'disconnect';
    this.#kept.add({ bookmark, sinceMs: nowMs, cursor: openAt(offset, overflow), isHeld });
    this.lastAddedMs = nowMs;
  }

  /** Whether the provider waits for somebody who may come back. */
  get areHeld(): boolean {
    for (const { isHeld } of this.#kept) if (isHeld) return true;
    return false;
  }

  /** The most that may come at once, of several events. */
  get maxRunBytes(): number {
    let smallest = Infinity;
    for (const { bookmark } of this.#kept) smallest = Math.min(smallest, bookmark.maxRunBytes);
    return smallest;
  }

  /** Whether somebody who comes back has yet to take the chunk at that offset. */
  awaits(offset: number): boolean {
    for (const { cursor } of this.#kept) if (cursor.end === undefined && offset >= cursor.offset) return true;
    return false;
  }

  /** The reader of that name is there again, with a cursor of its own. Others who read there leave its place alone. */
  cameBack(name: string): void {
    for (const kept of this.#kept) if (kept.bookmark.name === name) this.#remove(kept);
  }

  /**
   * While the model is at work: it waits for nobody any longer than that. The place stays, until more has come behind it than
   * may wait for a reader.
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

  /** Nobody can come back. */
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
