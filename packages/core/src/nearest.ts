/**
 * The known name that is most like a name, if it is like it at all: at most one change for every four
 * characters. A change adds, leaves out or replaces a character, or swaps two neighbours. Case, `-` and `_`
 * make no difference.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  // The names of settings are shorter than this, and a user may give any text.
  if (name.length > 64) return undefined;
  const plain = (text: string): string => text.replaceAll(/[-_]/g, '').toLowerCase();
  let best: string | undefined;
  let least = Math.max(1, Math.floor(plain(name).length / 4)) + 1;
  for (const each of known) {
    const changes = changesBetween(plain(name), plain(each));
    if (changes >= least) continue;
    least = changes;
    best = each;
  }
  return best;
}

/** The least number of changes that make one text of the other (optimal string alignment). */
function changesBetween(one: string, other: string): number {
  let before: number[] = [];
  let row = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let at = 1; at <= one.length; at += 1) {
    const next = [at];
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[at - 1] === other[column - 1];
      const isSwap = one[at - 1] === other[column - 2] && one[at - 2] === other[column - 1];
      next[column] = Math.min(
        (row[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (row[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap && at > 1 && column > 1 ? (before[column - 2] ?? 0) + 1 : Infinity,
      );
    }
    before = row;
    row = next;
  }
  return row[other.length] ?? 0;
}
