import { expectWhole } from '@spillway/core/invalid';
import type { Sentences } from '../spoken-answer.ts';
import { OpenQuotes } from './open-quotes.ts';
import { decide, isMark, isSpace } from './sentence-end.ts';

/** How texts are split. */
export interface SentenceSplitterOptions {
  /** The longest piece, in UTF-16 units: 20 to 10,000. Default: 200. */
  readonly maxChars?: number;
  /** The language that is spoken, as in BCP 47: `de`, `en-GB`. It says what "3." is. Default: `en`. */
  readonly language?: string;
}

const clauseEnd = /[,;:–—،؛](?=\s)|[、，；：]/gu;
/** What is looked at behind a piece that is full: one character. */
const beyond = 2;
const ideograph = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}]/u;
const mark = /[\p{M}\p{Lm}]/u;
const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/**
 * Takes a text as it is made, and gives its sentences, each as soon as it is known that it is over. "!", "?" and marks such as "。"
 * and "।" say so by themselves; a point needs the character behind it, because of "3.5" and "example.com", and "Dr.", "U.S.",
 * "No. 5" and a quote that closes need the next word. A line's end ends a sentence, too. However the text is cut into pieces,
 * the same sentences come, and joined they are the text, but for the spaces between them.
 *
 * What waits is never longer than `maxChars` and one character: a sentence that is longer is cut behind a clause in its second
 * half, otherwise between two words, otherwise between two characters.
 *
 * How long text may wait is the caller's to say, who has a clock: `waiting` and `flush`.
 *
 * @example
 * ```ts
 * const splitter = new SentenceSplitter();
 * splitter.push('We open at 9 a.m. on'); // []
 * splitter.push(' Monday. See you! The'); // ['We open at 9 a.m. on Monday.', 'See you!']
 * splitter.end(); // ['The']
 * ```
 */
export class SentenceSplitter implements Sentences {
  readonly #maxChars: number;
  readonly #language: string;
  /** From the first character that was not given, which is no space. */
  #text = '';
  /** Up to here it is known that no sentence ends. */
  #at = 0;
  /** Of the text before `#at`. */
  #quotes = new OpenQuotes();
  #quotesAtStart = new OpenQuotes();

  /** @throws {SpillwayError} `invalid_option` */
  constructor({ language = 'en', maxChars = 200 }: SentenceSplitterOptions = {}) {
    expectWhole('maxChars', maxChars, 20, 10_000);
    this.#maxChars = maxChars;
    this.#language = language;
  }

  /** The text that was not given, in UTF-16 units: ≤ `maxChars` + 1 always. */
  get waiting(): number {
    return this.#text.length;
  }

  /** Takes the next piece of the text, of any length, and gives the sentences that are over. */
  push(delta: string): string[] {
    const sentences: string[] = [];
    // A piece of a megabyte is looked at in parts: what waits is short, so that nothing is copied often.
    for (let from = 0; from < delta.length; from += this.#maxChars) {
      this.#text += delta.slice(from, from + this.#maxChars);
      if (this.#at === 0) this.#drop(0);
      this.#take(false, sentences);
    }
    return sentences;
  }

  /** The text is over: gives the rest. What is pushed from now on is another text. */
  end(): string[] {
    const sentences: string[] = [];
    this.#take(true, sentences);
    this.#give(this.#text.length, sentences);
    this.#quotes = new OpenQuotes();
    this.#quotesAtStart = new OpenQuotes();
    return sentences;
  }

  /**
   * Gives what has waited too long: all of it, if it may be a sentence; otherwise up to its last clause, or else its last word.
   * A word that is not over stays. May give nothing.
   */
  flush(): string[] {
    const text = this.#text;
    const pieces: string[] = [];
    const last = decide({ text, isWhole: true, language: this.#language }, text.trimEnd().length - 1, false);
    if (isMark(text.trimEnd().at(-1) ?? '') && last !== 'none') this.#give(text.length, pieces);
    else this.#give(lastClause(text) || lastWord(text, text.length), pieces);
    return pieces;
  }

  #take(isEnd: boolean, sentences: string[]): void {
    while (this.#at < this.#text.length) {
      const window = this.#text.slice(0, this.#maxChars + beyond);
      const isFull = window.length === this.#maxChars + beyond;
      if (this.#at >= this.#maxChars) {
        // Where to cut is known when the next character is.
        if (!isFull && !isEnd) return;
        if (window.length <= this.#maxChars) return;
        this.#give(this.#cut(window), sentences);
        continue;
      }
      const char = window.charAt(this.#at);
      if (isMark(char)) {
        const known = { text: window, isWhole: isFull || isEnd, language: this.#language };
        const decision = decide(known, this.#at, this.#quotes.isAny);
        if (decision === 'wait') return;
        if (decision !== 'none' && decision.end <= this.#maxChars) {
          this.#give(decision.end, sentences);
          continue;
        }
      }
      this.#quotes.pass(char);
      this.#at += 1;
    }
  }

  /** Where a text that is too long is cut. */
  #cut(window: string): number {
    const clause = lastClause(window.slice(0, this.#maxChars));
    if (clause > this.#maxChars / 2) return clause;
    const word = lastWord(window, this.#maxChars);
    if (word > 0) return word;
    const { index } = graphemes.segment(window).containing(this.#maxChars) ?? { index: 0 };
    if (index > 0) return index;
    // One character of hundreds of marks. It is cut, but not inside of a pair.
    return (window.codePointAt(this.#maxChars - 1) ?? 0) > 0xff_ff ? this.#maxChars - 1 : this.#maxChars;
  }

  #give(end: number, sentences: string[]): void {
    if (end <= 0) return;
    const sentence = this.#text.slice(0, end).trim();
    if (sentence !== '') sentences.push(sentence);
    this.#drop(end);
  }

  /** Drops what was given, and the spaces behind it. */
  #drop(end: number): void {
    const rest = this.#text.slice(end).trimStart();
    for (const char of this.#text.slice(0, this.#text.length - rest.length)) this.#quotesAtStart.pass(char);
    this.#quotes = this.#quotesAtStart.copy();
    this.#text = rest;
    this.#at = 0;
  }
}

/** Behind the last mark of a clause; 0 if there is none. */
function lastClause(text: string): number {
  let end = 0;
  for (const { 0: found, index } of text.matchAll(clauseEnd)) end = index + found.length;
  return end;
}

/** Behind the last space before `before`, or the last sign of a script that has none; 0 if there is none. */
function lastWord(text: string, before: number): number {
  let end = Math.min(before, text.length);
  while (end > 0 && !isSpace(text.charAt(end - 1))) {
    if (ideograph.test(text.charAt(end - 1)) && !mark.test(text.charAt(end))) break;
    end -= 1;
  }
  return end;
}
