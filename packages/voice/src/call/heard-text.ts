/** Where a word of a text is spoken. `end`: the text's characters (UTF-16 units) up to its end. */
export interface SpokenWord {
  readonly end: number;
  /** When it has been spoken, in milliseconds since the first sample. */
  readonly toMs: number;
}

/** What is known of a text that is spoken. */
export interface SpokenText {
  readonly text: string;
  /** How much audio was made of it, in milliseconds. */
  readonly madeMs: number;
  /** The words of which the time is known, in order. Without any, they are taken to be spread evenly. */
  readonly words: readonly SpokenWord[];
}

/** The beginning of a text that was heard, to the end of a word: by the words' own times where they are known, and else by its share. */
export function heardText({ madeMs, text, words }: SpokenText, heardMs: number): string {
  if (words.length === 0) return partOf(text, heardMs / madeMs);
  // What was heard to its end is whole, with the mark behind its last word.
  if (heardMs >= madeMs) return text;
  const last = words.findLast(({ toMs }) => toMs <= heardMs);
  return text.slice(0, last?.end ?? 0).trim();
}

/** The beginning of a text, to the end of a word. */
export function partOf(text: string, share: number): string {
  // A text without any sound has no share.
  if (!(share < 1)) return text;
  const end = Math.floor(text.length * share);
  const head = text.slice(0, end);
  return /\s/u.test(text.charAt(end)) ? head.trim() : head.slice(0, head.search(/\S*$/u)).trim();
}
