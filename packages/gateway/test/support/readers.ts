/** Who reads replies. */
export type Reader = 'built-in' | 'undici';
export const readers: readonly Reader[] = ['built-in', 'undici'];

/** A provider as `--upstream` takes it, read by one or the other. */
export function upstreamFor(reader: Reader, text: string): string {
  if (reader === 'built-in') return text;
  return text
    .split(/\s+/)
    .filter((part) => part !== '')
    .map((part) => `${/^\w+=/.test(part) ? part : `url=${part}`},proxy=env`)
    .join(' ');
}
