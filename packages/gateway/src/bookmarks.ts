import type { Gap, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { BodyHold } from './request-memory.ts';

/** Where a reader stood that was let go and may come back. */
export interface Bookmark {
  /** Stands there in the channel: nothing is merged across it, and the provider waits for it as for a reader. */
  readonly reader: Reader<EventRun | Gap>;
  /** The most that may come at once, of several events, to the reader that it is kept for. */
  readonly maxRunBytes: number;
  /** The same place, for a provider that waits no longer: it is gone when more comes behind it than may wait for a reader. */
  readonly loosen: () => Reader<EventRun | Gap>;
  /** Its place among the readers that hold back their credit; so many can there be. */
  readonly place: BodyHold;
}

interface Kept {
  readonly bookmark: Bookmark;
  readonly sinceMs: number;
  loose: Reader<EventRun | Gap> | undefined;
}

/** The places in one stream of readers that were let go and may come back. */
export class Bookmarks {
  readonly #kept = new Set<Kept>();

  /** When the latest was added. */
  lastAddedMs = Number.NEGATIVE_INFINITY;

  /** Before its reader leaves: what waits for that one would be merged, or gone. */
  add(bookmark: Bookmark, nowMs: number): void {
    this.#kept.add({ bookmark, sinceMs: nowMs, loose: undefined });
    this.lastAddedMs = nowMs;
  }

  /** Whether the provider waits for somebody who may come back. */
  get areHeld(): boolean {
    for (const { loose } of this.#kept) if (loose === undefined) return true;
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
    for (const kept of this.#kept) {
      const { end, offset: next } = readerOf(kept);
      if (end === undefined && offset >= next) return true;
    }
    return false;
  }

  /** Somebody reads on at that offset, and has a cursor there. */
  cameBack(offset: number): void {
    for (const kept of this.#kept) {
      if (readerOf(kept).offset !== offset) continue;
      this.#remove(kept);
      return;
    }
  }

  /** While the model is at work: it waits for nobody any longer than that. */
  tick(nowMs: number, graceMs: number): void {
    for (const kept of this.#kept) {
      const { bookmark, loose, sinceMs } = kept;
      if (loose?.end !== undefined) this.#remove(kept);
      if (loose !== undefined || nowMs - sinceMs < graceMs) continue;
      kept.loose = bookmark.loosen();
      bookmark.reader.detach();
    }
  }

  /** Nobody can come back. */
  clear(): void {
    for (const kept of this.#kept) this.#remove(kept);
  }

  #remove(kept: Kept): void {
    this.#kept.delete(kept);
    kept.bookmark.place.release();
    readerOf(kept).detach();
  }
}

function readerOf({ bookmark, loose }: Kept): Reader<EventRun | Gap> {
  return loose ?? bookmark.reader;
}
