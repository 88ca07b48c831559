import { englishWords } from './english-words.ts';
import { MarkdownReader, plainLine } from './markdown.ts';

/** So often a line is looked at: what was made words may have set free a mark. */
const maxPasses = 6;

/** How a text is made ready to be spoken. */
export interface SpeakableOptions {
  /**
   * `markdown`: marks, addresses and code are left out, for a speaker that reads numbers and abbreviations itself, as neural ones
   * do. `words`: those are words, too, if the language is English; of other languages they are left to the speaker. Default: `words`.
   */
  readonly level?: 'markdown' | 'words';
  /** The language, as in BCP 47: `en-GB` writes 3/4/2026 for a day of April. Default: `en`. */
  readonly language?: string;
}

/**
 * Makes texts ready to be spoken, piece by piece: of Markdown only the words are left, and blocks of code are left out, also
 * where a block lies in several pieces. A piece is a sentence or a line, as `SentenceSplitter` gives them.
 *
 * @example
 * ```ts
 * const reader = new SpeakableText();
 * reader.push('**Dr. Ames** is there at 9:30.'); // 'Doctor Ames is there at nine thirty.'
 * reader.push('```js'); // ''
 * reader.push('const a = 1;'); // ''
 * ```
 */
export class SpeakableText {
  readonly #markdown = new MarkdownReader();
  readonly #toWords: (text: string) => string;

  constructor({ language = 'en', level = 'words' }: SpeakableOptions = {}) {
    const isEnglish = /^en(?:[-_]|$)/i.test(language);
    this.#toWords =
      level === 'words' && isEnglish ? (text) => wordsOf(text, language.replace('_', '-')) : (text) => text;
  }

  /** What is to be spoken of the next piece; may be empty. At most 16 times as long as the piece. */
  push(piece: string): string {
    const lines = this.#markdown.push(piece).split('\n');
    return lines
      .map((line) => this.#toWords(line))
      .filter((line) => line !== '')
      .join('\n');
  }
}

function wordsOf(line: string, language: string): string {
  let words = line;
  for (let pass = 0; pass < maxPasses; pass += 1) {
    const before = words;
    words = plainLine(englishWords(words, language));
    if (words === before) break;
  }
  return words;
}

/**
 * Makes one text ready to be spoken; see {@link SpeakableText}. Making it ready again changes nothing.
 *
 * @example
 * ```ts
 * speakable('It costs **$5.50**, see [our page](https://library.example/fees).');
 * // 'It costs five dollars and fifty cents, see our page.'
 * ```
 */
export function speakable(text: string, options: SpeakableOptions = {}): string {
  return new SpeakableText(options).push(text);
}
