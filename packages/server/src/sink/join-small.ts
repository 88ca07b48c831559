/** What is larger is not copied. */
const maxJoinedBytes = 8192;

/** Bytes that are made one piece after another, as somebody takes them. The last piece is what it returns. */
export type Pieces = Generator<Uint8Array, Uint8Array, undefined>;

/**
 * The same bytes in fewer pieces: small ones are put together, and large ones stay views of what all readers of a stream share. A copy
 * for each reader of a large event would be in no bound.
 */
export function* joinSmall(pieces: Iterable<Uint8Array>): Pieces {
  let small: Uint8Array[] = [];
  let smallBytes = 0;
  for (const piece of pieces) {
    const isLarge = piece.length > maxJoinedBytes;
    if (!isLarge) {
      small.push(piece);
      smallBytes += piece.length;
    }
    if (isLarge || smallBytes > maxJoinedBytes) {
      yield Buffer.concat(small, smallBytes);
      small = [];
      smallBytes = 0;
    }
    if (isLarge) yield piece;
  }
  return Buffer.concat(small, smallBytes);
}
