/** Joins two neighbours into one without loss, or refuses with `undefined`. Must not change the two chunks. */
export interface Merge<T> {
  (first: T, second: T): T | undefined;
  /**
   * Merges many neighbours, if that costs less than two by two. Returns the chunks that result, in order. `fits` says
   * whether a merged chunk is within the bound. Default: neighbours are merged two by two.
   */
  readonly all?: (chunks: readonly T[], fits: (merged: T) => boolean) => readonly MergedChunk<T>[];
  /**
   * Called when the channel has ended and has no readers: anything remembered of its chunks may be dropped. Default:
   * nothing is called.
   */
  readonly forget?: () => void;
}

/** A chunk that stands for `count` neighbours. With a `count` of 1 it is the chunk as it was. */
export interface MergedChunk<T> {
  /** The merged chunk. */
  readonly chunk: T;
  /** The number of chunks that it stands for. */
  readonly count: number;
}

/** Merges neighbours two by two, from the first on. */
export function mergePairs<T>(
  chunks: readonly T[],
  merge: (first: T, second: T) => T | undefined,
  fits: (merged: T) => boolean,
): MergedChunk<T>[] {
  const all: MergedChunk<T>[] = [];
  for (const chunk of chunks) {
    const last = all.at(-1);
    const merged = last && merge(last.chunk, chunk);
    if (last === undefined || merged === undefined || !fits(merged)) all.push({ chunk, count: 1 });
    else all[all.length - 1] = { chunk: merged, count: last.count + 1 };
  }
  return all;
}
