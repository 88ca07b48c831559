import { isCloser } from './open-quotes.ts';
import {
  abbreviations,
  ambiguous,
  hasOrdinalPoint,
  longestStarter,
  numbered,
  starters,
} from './sentence-words.ts';

/** What a mark in a text is: the end of a sentence, before the character at `end`; none; or it needs more text to be known. */
export type Decision = { readonly end: number } | 'none' | 'wait';

/** A text from the beginning of a sentence, and how much of it is known. */
export interface KnownText {
  readonly text: string;
  /** Whether nothing more is to come, or nothing more is looked at. */
  readonly isWhole: boolean;
  readonly language: string;
}

const strong = '!?…।॥。！？｡؟۔‽';
const spoken = /[\p{L}\p{N}]/u;
const lower = /^\p{Ll}/u;
const upper = /^\p{Lu}/u;

/** Whether something may end a sentence. */
export function isMark(char: string): boolean {
  return char !== '' && (char === '.' || char === '\n' || strong.includes(char));
}

export function isSpace(char: string): boolean {
  return char !== '' && char.trim() === '';
}

/**
 * Whether the mark at `at` ends a sentence. What is not `wait` stays so whatever comes behind: texts that come in pieces have the
 * sentences that they have as one.
 */
export function decide(known: KnownText, at: number, isQuoted: boolean): Decision {
  const { text } = known;
  const char = text.charAt(at);
  if (char === '\n') return { end: at };
  // Points and marks alone are part of what follows.
  if (!spoken.test(text.slice(0, at))) return 'none';
  if (char === '.') return decidePoint(known, at);
  const before = text.charAt(at - 1);
  const isAscii = char === '!' || char === '?';
  if (isAscii && (isSpace(before) || isAddress(wordBefore(text, at)))) {
    const next = nextOf(known, at + 1);
    if (next === undefined) return 'wait';
    if (next !== '' && !isSpace(next) && !isCloser(next)) return 'none';
  }
  return isQuoted ? decideQuoted(known, at + 1) : { end: at + 1 };
}

/** Behind a mark in a quote: the quote's end belongs to it, and a small letter goes on with the sentence. */
function decideQuoted(known: KnownText, from: number): Decision {
  const { text } = known;
  const word = nextWord(known, from);
  if (word === undefined) return 'wait';
  // French has a space before it.
  let end = word === '»' ? text.indexOf(word, from) : from;
  while (isCloser(text.charAt(end)) || (end > from && isMark(text.charAt(end)) && text.charAt(end) !== '\n'))
    end += 1;
  const next = nextOf(known, end);
  if (next === undefined) return 'wait';
  // A further mark is decided by itself.
  if (end === from) return isMark(next) && next !== '\n' ? 'none' : { end };
  return goesOn(known, end);
}

/** Whether a small letter is next: then the sentence is not over. */
function goesOn(known: KnownText, end: number): Decision {
  const word = nextWord(known, end);
  if (word === undefined) return 'wait';
  return lower.test(word) ? 'none' : { end };
}

function decidePoint(known: KnownText, at: number): Decision {
  const { text } = known;
  // Of several points the first one speaks for all.
  if (text.charAt(at - 1) === '.') return 'none';
  let end = at + 1;
  while (text.charAt(end) === '.') end += 1;
  const isEllipsis = end > at + 1;
  const afterPoints = end;
  while (isCloser(text.charAt(end))) end += 1;
  const next = nextOf(known, end);
  if (next === undefined) return 'wait';
  // "3.5", "v1.2", "U.S." and "example.com" are no ends. Scripts without spaces have their own marks.
  if (next !== '' && !isSpace(next)) return 'none';
  if (next === '\n') return { end };
  if (isEllipsis || end > afterPoints) return goesOn(known, end);
  return decideWord(known, wordBefore(text, at), end);
}

/** A point behind a word, and a space behind it. */
function decideWord(known: KnownText, whole: string, end: number): Decision {
  const word = whole.replace(/^[^\p{L}\p{N}]+/u, '');
  const small = word.toLowerCase();
  const isFirst = known.text.slice(0, end - 1).trim() === whole;
  const isLetter = /^\p{L}$/u.test(word);
  if (/^\p{N}+$/u.test(word)) {
    // The item of a list, and "am 3. Mai".
    if (isFirst && word.length <= 3) return 'none';
    return word.length <= 2 && hasOrdinalPoint(known.language) ? 'none' : upperNext(known, end);
  }
  // "Goethestr. 5"
  if (abbreviations.has(small) || /\p{L}str$/u.test(small) || (isLetter && isFirst)) return 'none';
  // "J. R. R. Tolkien"; "so did I."
  if (isLetter && upper.test(word)) return word === 'I' ? upperNext(known, end) : 'none';
  if (numbered.has(small)) {
    const next = nextWord(known, end);
    if (next === undefined) return 'wait';
    return /^\p{N}/u.test(next) ? 'none' : { end };
  }
  if (ambiguous.has(small)) return upperNext(known, end);
  // "U.S. Army", "in the U.S. The", "at 3 p.m. on": points in a word of single letters.
  if (/^(?:\p{L}\.)+\p{L}$/u.test(word)) {
    const next = nextWord(known, end, longestStarter);
    if (next === undefined) return 'wait';
    const isStart = next === '' || (starters.has(next.toLowerCase()) && !lower.test(next));
    return isStart ? { end } : 'none';
  }
  return { end };
}

function upperNext(known: KnownText, end: number): Decision {
  const next = nextWord(known, end);
  if (next === undefined) return 'wait';
  return next === '' || !(lower.test(next) || /^\p{N}/u.test(next)) ? { end } : 'none';
}

/** The character at a place; empty at the end of the text, and `undefined` while it is not known. */
function nextOf({ isWhole, text }: KnownText, at: number): string | undefined {
  const point = text.codePointAt(at);
  if (point === undefined) return isWhole ? '' : undefined;
  const isHalf = point >= 0xd8_00 && point <= 0xdb_ff;
  return isHalf && at + 1 === text.length && !isWhole ? undefined : String.fromCodePoint(point);
}

/**
 * The first letters of the next word, at least one character of it; empty where there is none in the line, and `undefined` while it is
 * not known. `letters`: so many letters have to be known, or the word's end.
 */
function nextWord(known: KnownText, from: number, letters = 1): string | undefined {
  const { text } = known;
  let at = from;
  while (at < text.length && isSpace(text.charAt(at)) && text.charAt(at) !== '\n') at += 1;
  const first = nextOf(known, at);
  if (first === undefined) return undefined;
  if (first === '\n') return '';
  if (letters === 1) return first;
  const word = /^\p{L}*/u.exec(text.slice(at, at + letters + 1))?.[0] ?? '';
  if (at + word.length === text.length && word.length <= letters && !known.isWhole) return undefined;
  return word === '' ? first : word;
}

/** What stands between the last space and a place. */
function wordBefore(text: string, at: number): string {
  let from = at;
  while (from > 0 && !isSpace(text.charAt(from - 1))) from -= 1;
  return text.slice(from, at);
}

function isAddress(word: string): boolean {
  return word.includes('://') || word.startsWith('www.');
}
