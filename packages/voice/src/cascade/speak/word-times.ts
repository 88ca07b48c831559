import type { SpokenWord } from '../../call/heard-text.ts';

/** When the characters of a piece of audio begin and how long they last, in milliseconds since its first sample. */
export interface CharacterTimes {
  readonly chars: readonly string[];
  readonly charStartTimesMs: readonly number[];
  readonly charDurationsMs: readonly number[];
}

/** Makes times of words of times of characters. Characters that are not those of the text end that: no time is better than a wrong one. */
export class WordTimes {
  readonly #text: string;
  /** Up to here characters of the text had times; `undefined`: they were others. */
  #at: number | undefined = 0;
  /** When the last of them is over. */
  #toMs = 0;
  /** Up to here words were told. */
  #told = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** `atMs`: where the piece begins, in milliseconds since the first sample of the text. */
  push({ charDurationsMs, charStartTimesMs, chars }: CharacterTimes, atMs: number): SpokenWord[] {
    const words: SpokenWord[] = [];
    for (const [index, char] of chars.entries()) {
      if (this.#at === undefined) break;
      const start = charStartTimesMs[index];
      const duration = charDurationsMs[index];
      if (start === undefined || duration === undefined) break;
      if (char.trim() === '') this.#endWord(words);
      this.#at = this.#behind(char, this.#at);
      // A word is never over before an earlier one.
      if (char.trim() !== '') this.#toMs = Math.max(this.#toMs, atMs + start + duration);
    }
    return words;
  }

  /** The text is over: so is its last word, if all of it had times. */
  end(): SpokenWord[] {
    const words: SpokenWord[] = [];
    if (this.#at !== undefined && this.#text.slice(this.#at).trim() === '') this.#endWord(words);
    return words;
  }

  /** Where the text goes on behind a character. Spaces need not be the same. */
  #behind(char: string, from: number): number | undefined {
    if (char.trim() === '') return from + (this.#text.startsWith(char, from) ? char.length : 0);
    let at = from;
    while (at < this.#text.length && this.#text.charAt(at).trim() === '') at += 1;
    return this.#text.startsWith(char, at) ? at + char.length : undefined;
  }

  #endWord(words: SpokenWord[]): void {
    if (this.#at === undefined) return;
    const end = this.#told + this.#text.slice(this.#told, this.#at).trimEnd().length;
    if (this.#text.slice(this.#told, end).trim() === '') return;
    words.push({ end, toMs: this.#toMs });
    this.#told = this.#at;
  }
}
