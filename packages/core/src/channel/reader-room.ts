import type { ChunkLog } from './chunk-log.ts';
import type { Bounds } from './bounds.ts';
import { firstWhere } from './first-where.ts';

/** The chunks that a reader keeps outside the chunk log and that count against its bounds. */
interface Kept {
  /** The oldest of these chunks. */
  readonly firstEntry: { readonly bytes: number } | undefined;
  readonly items: number;
  readonly bytes: number;
  readonly ms: number;
}

/** The parts of the channel that say whether a write waits for room. */
interface Awaited {
  /** Defined where neighbours can be merged. */
  readonly merge: unknown;
  readonly pending: { readonly bytes: number; readonly ms: number } | undefined;
}

/** Computes how much more may wait for a reader whose cursor is at a position. */
export class ReaderRoom<T> {
  readonly #log: ChunkLog<T>;
  readonly #bounds: Bounds;
  readonly #kept: Kept;

  constructor(log: ChunkLog<T>, bounds: Bounds, kept: Kept) {
    this.#log = log;
    this.#bounds = bounds;
    this.#kept = kept;
  }

  /** The position that the head may reach before more than `part` of `maxItems` waits. */
  toPosition(position: number, part: number): number {
    return position - this.#kept.items + Math.floor(this.#bounds.maxItems * part);
  }

  /** The `totalBytes` that the chunk log may reach before more than `part` of `maxBytes` waits. */
  toBytes(position: number, part: number): number {
    return this.#log.bytesBefore(position) - this.#kept.bytes + this.#bounds.maxBytes * part;
  }

  /** The `totalMs` that the chunk log may reach before more than `part` of `maxMs` waits. */
  toMs(position: number, part: number): number {
    return this.#log.msBefore(position) - this.#kept.ms + this.#bounds.maxMs * part;
  }

  /** Whether a chunk of that size fits. */
  fits(position: number, bytes: number, ms: number): boolean {
    const items = this.#log.head - position + this.#kept.items;
    if (items === 0) return true;
    const { maxBytes, maxItems, maxMs } = this.#bounds;
    return (
      items < maxItems &&
      this.#bytesFrom(position) + bytes <= maxBytes &&
      this.#log.msFrom(position) + this.#kept.ms + ms <= maxMs
    );
  }

  /** The bytes that wait. A next chunk that is larger than the whole bound does not count. */
  #bytesFrom(position: number): number {
    const log = this.#log;
    const { bytes, firstEntry, items } = this.#kept;
    const { maxBytes } = this.#bounds;
    if (items > 0) {
      const firstBytes = firstEntry?.bytes ?? 0;
      return log.bytesFrom(position) + (firstBytes > maxBytes ? bytes - firstBytes : bytes);
    }
    const isTooLarge = position < log.head && log.bytesAt(position) > maxBytes;
    return log.bytesFrom(isTooLarge ? position + 1 : position);
  }

  /**
   * The position from which one step of the reader may let the pending write go on. The head, if no write waits for
   * this reader.
   */
  awaitedAt(position: number, { merge, pending }: Awaited): number {
    const { head } = this.#log;
    if (pending === undefined) return head;
    // Where entries can be merged, any step may make room.
    if (merge !== undefined) return 0;
    const low = Math.max(position, head - Math.floor(this.#bounds.maxItems / 2));
    const lets = (at: number): boolean => !this.isBeyond(at, 0.5) && this.fits(at, pending.bytes, pending.ms);
    // Most channels are bounded in items alone: then `low` is the answer.
    const at = lets(low) ? low : firstWhere(low + 1, head, lets);
    return at === position ? head : at - 1;
  }

  /** Whether more than `part` of a bound waits. */
  isBeyond(position: number, part: number): boolean {
    const { maxBytes, maxItems, maxMs } = this.#bounds;
    if (this.#log.head - position + this.#kept.items > maxItems * part) return true;
    if (this.#log.isBare) return false;
    return (
      this.#log.bytesFrom(position) + this.#kept.bytes > maxBytes * part ||
      this.#log.msFrom(position) + this.#kept.ms > maxMs * part
    );
  }
}
