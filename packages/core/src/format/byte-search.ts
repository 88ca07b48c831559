/**
 * Whether a text is in `bytes[start, end)`. The search is Horspool's ("Practical fast searching in strings", 1980): for
 * a text of seven bytes, it looks at about one byte of seven.
 */
export type ByteSearch = (bytes: Uint8Array, start: number, end: number) => boolean;

/** Creates a search for a text of 1 to 255 ASCII characters. */
export function createByteSearch(text: string): ByteSearch {
  const wanted = new TextEncoder().encode(text);
  const last = wanted.length - 1;
  /** For each byte under the text's last character: how far to move on. */
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
