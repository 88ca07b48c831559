import type { Backlog } from './backlog.ts';
import type { Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks, nothingKept } from './kept-chunks.ts';
import type { LossyOverflow } from './overflow.ts';

/** What a reader takes before it comes to its cursor in the log: what it keeps elsewhere, and then what it lost right before the cursor. */
export class BeforeCursor<T> {
  readonly kept: Backlog<T>;
  #gap: Gap | undefined;

  /** @param kept default: nothing can be kept. */
  constructor(kept: Backlog<T> = nothingKept) {
    this.kept = kept;
  }

  get isEmpty(): boolean {
    return this.#gap === undefined && this.kept.isEmpty;
  }

  /** What comes next; `undefined` also while it has to be fetched. */
  get first(): Entry<T> | Gap | undefined {
    return this.kept.isEmpty ? this.#gap : this.kept.first;
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

  /** The chunks at [from, to) were lost, right behind what was lost before. */
  lost(from: number, to: number, bytes: number, reason: LossyOverflow): void {
    const before = this.#gap;
    this.#gap = new Gap(before?.from ?? from, to, (before?.bytes ?? 0) + bytes, reason);
  }

  clear(): void {
    this.#gap = undefined;
    this.kept.clear();
  }
}
