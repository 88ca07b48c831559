/** Joins two neighbours into one without loss, or refuses with `undefined`. Must not change them. */
export interface Merge<T> {
  (first: T, second: T): T | undefined;
  /**
   * The same for many neighbours, if that can be done for less than two by two: what became of them, in order. `fits` says
   * whether a merged chunk may be as large as that. Default: two by two.
   */
  readonly all?: (chunks: readonly T[], fits: (merged: T) => boolean) => readonly MergedChunk<T>[];
  /** The channel has ended and has no readers: what is remembered of its chunks is hardly needed any more. Default: nothing is. */
  readonly forget?: () => void;
}

/** A chunk that stands for `count` neighbours; as it was, if that is 1. */
export interface MergedChunk<T> {
  /** What the chunks became. */
  readonly chunk: T;
  /** How many chunks it stands for. */
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
