import type { Backlog } from './backlog.ts';
import type { ChunkLog, Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks, nothingKept } from './kept-chunks.ts';
import { Losses } from './losses.ts';
import type { ChannelReaderOptions } from './reader-host.ts';

/**
 * The items that a reader takes before the entry at its cursor: first the chunks kept outside the chunk log, then the
 * gap right before the cursor.
 */
export class BeforeCursor<T> {
  readonly kept: Backlog<T>;
  /** Undefined when the reader has neither `onDrop` nor `onGap`. */
  readonly losses: Losses<T> | undefined;
  #gap: Gap | undefined;

  /**
   * @param kept default: the reader keeps no chunks.
   */
  constructor(
    kept: Backlog<T> = nothingKept,
    { onDrop, onGap }: Pick<ChannelReaderOptions<T>, 'onDrop' | 'onGap'>,
  ) {
    this.kept = kept;
    this.losses = onDrop === undefined && onGap === undefined ? undefined : new Losses(onDrop, onGap);
  }

  get isEmpty(): boolean {
    return this.#gap === undefined && this.kept.isEmpty;
  }

  /** The next item; `undefined` also while it has to be fetched. */
  get first(): Entry<T> | Gap | undefined {
    return this.kept.isEmpty ? this.#gap : this.kept.first;
  }

  /** Whether the next item is in memory. */
  get isHere(): boolean {
    return this.isEmpty || this.first !== undefined;
  }

  /** The bytes of the next item, 0 for a gap; `undefined` when no item is in memory. */
  get firstBytes(): number | undefined {
    const { first } = this;
    return first instanceof Gap ? 0 : first?.bytes;
  }

  get offset(): number | undefined {
    return this.kept.offset ?? this.#gap?.from;
  }

  shift(): Entry<T> | Gap | undefined {
    const item = this.kept.shift();
    if (item !== undefined) return item;
    const gap = this.#gap;
    this.#gap = undefined;
    return gap;
  }

  /** Keeps entries that waited in the chunk log, after the gap before them. Not for a reader that spills. */
  keep(entries: readonly Entry<T>[]): void {
    if (!(this.kept instanceof KeptChunks)) return;
    if (this.#gap !== undefined) this.kept.push(this.#gap);
    this.#gap = undefined;
    for (const entry of entries) this.kept.push(entry);
  }

  /**
   * Records entries at [position, end) as lost by the reader's policy, right after any earlier loss. Returns the number
   * of lost chunks.
   */
  lost(log: ChunkLog<T>, position: number, end: number, policy: string): number {
    const from = log.offsetAt(position);
    const to = log.offsetAt(end);
    const bytes = log.bytesBefore(end) - log.bytesBefore(position);
    const before = this.#gap;
    this.#gap = new Gap(before?.from ?? from, to, (before?.bytes ?? 0) + bytes, before?.reason ?? policy);
    this.losses?.addFrom(log, position, end);
    this.losses?.add(new Gap(from, to, bytes, policy));
    return to - from;
  }

  /**
   * Drops everything that waits: the kept chunks, and the chunk log from a position on. Returns the number of dropped
   * chunks, and one gap that reaches to the head. The gap begins at the first dropped chunk, or at an earlier gap right
   * before it.
   *
   * @param isGapTaken whether the reader's items include gaps.
   */
  skip(
    log: ChunkLog<T>,
    position: number,
    reason: string,
    isGapTaken: boolean,
  ): { readonly chunks: number; readonly gap: Gap } {
    const from = this.offset ?? log.offsetAt(position);
    const to = log.nextOffset;
    let bytes = this.kept.bytes + this.kept.storedBytes + log.bytesFrom(position);
    let chunks = to - from;
    // Earlier losses were reported when they happened. So each run between them gets a gap of its own for `onGap`.
    let runFrom = from;
    let runBytes = 0;
    let untoldBytes = bytes;
    const items = this.kept.discard();
    if (this.#gap !== undefined) items.push(this.#gap);
    for (const item of items) {
      if (item instanceof Gap) {
        if (runFrom < item.from) this.losses?.add(new Gap(runFrom, item.from, runBytes, reason));
        untoldBytes -= runBytes;
        runFrom = item.to;
        runBytes = 0;
        bytes += item.bytes;
        chunks -= item.to - item.from;
      } else {
        this.losses?.add(item);
        runBytes += item.bytes;
      }
    }
    this.losses?.addFrom(log, position, log.head);
    if (runFrom < to) this.losses?.add(new Gap(runFrom, to, untoldBytes, reason));
    const gap = new Gap(from, to, bytes, reason);
    this.#gap = isGapTaken ? gap : undefined;
    return { chunks, gap };
  }

  clear(): void {
    this.#gap = undefined;
    this.kept.clear();
  }
}
