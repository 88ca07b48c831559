import type { SpokenWord } from '../../call/heard-text.ts';

/**
 * The words of what was spoken, as words of the text that it was made of. Where both begin and end alike the times stay; what
 * is between, such as "$5" and "five dollars", has none of its own.
 */
export function wordsOfText(text: string, spoken: string, words: readonly SpokenWord[]): SpokenWord[] {
  if (text === spoken) return [...words];
  const most = Math.min(text.length, spoken.length);
  let alike = 0;
  while (alike < most && text.charAt(alike) === spoken.charAt(alike)) alike += 1;
  let behind = 0;
  while (behind < most - alike && text.at(-1 - behind) === spoken.at(-1 - behind)) behind += 1;
  return words.flatMap(({ end, toMs }) => {
    if (end <= alike) return [{ end, toMs }];
    return end >= spoken.length - behind ? [{ end: end + text.length - spoken.length, toMs }] : [];
  });
}
