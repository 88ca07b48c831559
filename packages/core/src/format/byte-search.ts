/**
 * Whether a text is in `bytes[start, end)`. Looks at one byte of seven for a text of seven (Horspool, "Practical fast searching
 * in strings", 1980).
 */
export type ByteSearch = (bytes: Uint8Array, start: number, end: number) => boolean;

/** Searches for a text of ASCII, of 1 to 255 characters. */
export function createByteSearch(text: string): ByteSearch {
  const wanted = new TextEncoder().encode(text);
  const last = wanted.length - 1;
  /** How far to go on from a byte under the last character. */
  const steps = new Uint8Array(256).fill(wanted.length);
  for (let index = 0; index < last; index += 1) steps[wanted[index] ?? 0] = last - index;
  return (bytes, start, end) => {
    for (let at = start + last; at < end; at += steps[bytes[at] ?? 0] ?? 1) {
      let index = last;
      while (index >= 0 && bytes[at - last + index] === wanted[index]) index -= 1;
      if (index < 0) return true;
    }
    return false;
  };
}
