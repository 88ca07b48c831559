import type { Backlog } from './backlog.ts';
import type { ChunkLog, Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks, nothingKept } from './kept-chunks.ts';
import { Losses } from './losses.ts';
import type { ChannelReaderOptions } from './reader-host.ts';

/** What a reader takes before it comes to its cursor in the log: what it keeps elsewhere, and then what it lost right before the cursor. */
export class BeforeCursor<T> {
  readonly kept: Backlog<T>;
  /** There is none where nobody listens. */
  readonly losses: Losses<T> | undefined;
  #gap: Gap | undefined;

  /** @param kept default: nothing can be kept. */
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

  /** What comes next; `undefined` also while it has to be fetched. */
  get first(): Entry<T> | Gap | undefined {
    return this.kept.isEmpty ? this.#gap : this.kept.first;
  }

  /** Whether what comes next need not be fetched. */
  get isHere(): boolean {
    return this.isEmpty || this.first !== undefined;
  }

  /** The bytes of what comes next, of which a gap has none; `undefined`: nothing is here. */
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

  /** Keeps what waited in the log, behind the gap that was before it. Not of a reader that spills. */
  keep(entries: readonly Entry<T>[]): void {
    if (!(this.kept instanceof KeptChunks)) return;
    if (this.#gap !== undefined) this.kept.push(this.#gap);
    this.#gap = undefined;
    for (const entry of entries) this.kept.push(entry);
  }

  /**
   * The reader's policy lost the entries at [position, end), right behind what was lost before. Returns how many chunks
   * these are.
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
   * Loses all that waits: what is kept, and the log from a position on. Returns how many chunks these are, and one gap: from
   * the first of them, or from what was lost before it, to the head.
   *
   * @param isGapTaken whether the reader takes gaps.
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
    // What was lost earlier was told then. So what is lost now is told as the runs between.
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
