/** Pieces larger than this are not copied. */
const maxJoinedBytes = 8192;

/** Bytes in pieces that are made one by one, on request. The last piece is the generator's return value. */
export type Pieces = Generator<Uint8Array, Uint8Array, undefined>;

/**
 * The same bytes in fewer pieces. Small pieces are joined; large ones stay views of memory that all readers share. A
 * copy of a large event for each reader would be in no bound.
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
