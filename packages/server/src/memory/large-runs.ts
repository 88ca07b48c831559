import type { LargeRun } from './large-run.ts';

/** The large events that are in one stream's channel for readers who have not passed them. */
export class LargeRuns {
  #kept: { readonly run: LargeRun; readonly offset: number }[] = [];

  get isEmpty(): boolean {
    return this.#kept.length === 0;
  }

  /** Takes over what holds the run from whoever put it into the channel, at that offset. */
  keep(run: LargeRun, offset: number): void {
    this.#kept.push({ run, offset });
  }

  /** Lets go of those that nobody wants any more. */
  letGo(isWanted: (offset: number) => boolean): void {
    const kept = this.#kept;
    this.#kept = kept.filter(({ offset }) => isWanted(offset));
    for (const each of kept) if (!this.#kept.includes(each)) each.run.letGo();
  }
}
