import type { LargeRun } from './large-run.ts';

/** The large events in one stream's channel that a reader has yet to pass. */
export class LargeRuns {
  #kept: { readonly run: LargeRun; readonly offset: number }[] = [];

  get isEmpty(): boolean {
    return this.#kept.length === 0;
  }

  /** Takes over the first hold of the run, which is in the channel at that offset. */
  keep(run: LargeRun, offset: number): void {
    this.#kept.push({ run, offset });
  }

  /** Releases the runs that are no longer wanted. */
  releaseUnless(isWanted: (offset: number) => boolean): void {
    const kept = this.#kept;
    this.#kept = kept.filter(({ offset }) => isWanted(offset));
    for (const each of kept) if (!this.#kept.includes(each)) each.run.release();
  }
}
