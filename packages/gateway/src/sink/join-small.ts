/** What is larger is not copied. */
const maxJoinedBytes = 8192;

/**
 * The same bytes in fewer pieces: small ones are put together, and large ones stay views of what all readers of a stream share. A copy
 * for each reader of a large event would be in no bound.
 */
export function joinSmall(pieces: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = [];
  let small: Uint8Array[] = [];
  const join = (): void => {
    if (small.length > 0) joined.push(Buffer.concat(small));
    small = [];
  };
  for (const piece of pieces) {
    if (piece.length > maxJoinedBytes) {
      join();
      joined.push(piece);
    } else {
      small.push(piece);
    }
  }
  join();
  return joined;
}
