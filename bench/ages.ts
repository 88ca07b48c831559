import type { Placement } from './placement.ts';
import { stolenUsOf } from './usage.ts';
import { sleep } from './workload.ts';

const sliceMs = 200;
/** Of both cores together. The kernel counts in ticks of 10 ms, and one is always lost somewhere. */
const maxStolenUs = 10_000;
/** So many times as long as it should take, and what there is has to do. */
const maxPatience = 3;

/** What came while it was measured. */
export interface Measured {
  /** Of how many tokens. */
  readonly tokens: number;
  /** The ages of those that came while the machine was ours, if there was such a time, else of all. */
  readonly us: readonly number[];
  /** Whether it was ours for less time than it should have been. */
  readonly isDisturbed: boolean;
}

/**
 * Collects how old tokens are when they come. A virtual machine's host takes its cores away now and then, for a tenth of
 * a second at worst: what came then, or while the system made up for it, says nothing of the system.
 */
export class Ages {
  #slice: number[] | undefined;

  readonly add = (ageUs: number): void => void this.#slice?.push(ageUs);

  /** Measures until the machine was ours for so long, but no more than three times as long. */
  async during(ms: number, { cores }: Placement): Promise<Measured> {
    const wanted = Math.ceil(ms / sliceMs);
    const all: number[][] = [];
    const ours: number[][] = [];
    let wasStolen = false;
    while (ours.length < wanted && all.length < wanted * maxPatience) {
      const slice: number[] = [];
      this.#slice = slice;
      const beforeUs = stolenUsOf(cores);
      await sleep(sliceMs);
      const isStolen = stolenUsOf(cores) - beforeUs > maxStolenUs;
      all.push(slice);
      if (!isStolen && !wasStolen) ours.push(slice);
      wasStolen = isStolen;
    }
    this.#slice = undefined;
    return {
      tokens: all.reduce((sum, { length }) => sum + length, 0),
      us: (ours.length > 0 ? ours : all).flat(),
      isDisturbed: ours.length < wanted,
    };
  }
}
