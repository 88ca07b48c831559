/**
 * A text as the rules see it: escapes of JSON are the characters that they stand for, full-width and other decimal digits
 * are those of ASCII, every dash is `-`, every space a space, and characters without a width are not there. Each character
 * knows which part of the text it stands for.
 */
export interface CharView {
  readonly text: string;
  /** Where the text ends that `text` stands for. Behind it there is at most the beginning of an escape. */
  readonly rawEnd: number;
  /** Where character `index` begins in the original; `rawEnd` for the index behind the last one. */
  rawStart(index: number): number;
}

/** Characters that the view shows in another way, or not at all. */
const special =
  // oxlint-disable-next-line no-misleading-character-class
  /[\\\u00a0\u00ad\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u2000-\u2015\u2028\u2029\u202f\u205f\u2060\u2212\u3000\ufeff\uff01-\uff5e]/;
/** A backslash with what may follow it in an escape. */
const escape = /\\(?:u([0-9a-fA-F]{4})|["\\/bfnrt])/y;
const openEscape = /\\(?:u[0-9a-fA-F]{0,3})?$/y;

/**
 * Shows a text to the rules. `isEnd`: what looks like the beginning of an escape at its end is none. `isJson`: the text is
 * JSON, so that a backslash in one of its strings, which may be that of an escape, is written as an escape.
 */
export function viewOf(raw: string, isEnd: boolean, isJson = false): CharView {
  const outer = viewOnce(raw, isEnd);
  if (!isJson || !outer.text.includes('\\')) return outer;
  const inner = viewOnce(outer.text, isEnd);
  return {
    text: inner.text,
    rawEnd: outer.rawStart(inner.rawEnd),
    rawStart: (index) => outer.rawStart(inner.rawStart(index)),
  };
}

function viewOnce(raw: string, isEnd: boolean): CharView {
  if (!special.test(raw)) return { text: raw, rawEnd: raw.length, rawStart: (index) => index };
  const starts: number[] = [];
  let text = '';
  let at = 0;
  while (at < raw.length) {
    let code = raw.charCodeAt(at);
    let next = at + 1;
    if (code === BACKSLASH) {
      openEscape.lastIndex = at;
      if (!isEnd && raw.length - at < 6 && openEscape.test(raw)) break;
      escape.lastIndex = at;
      const found = escape.exec(raw);
      if (found !== null) {
        next = escape.lastIndex;
        code = found[1] === undefined ? shortEscape(raw.charCodeAt(at + 1)) : Number.parseInt(found[1], 16);
      }
    }
    const shown = code < 0x80 ? code : plainCode(code);
    if (shown !== 0 || code === 0) {
      starts.push(at);
      text += String.fromCharCode(shown);
    }
    at = next;
  }
  return { text, rawEnd: at, rawStart: (index) => starts[index] ?? at };
}

function shortEscape(code: number): number {
  // Quotes, the slash and the backslash stand for themselves, all others for white space.
  return code === QUOTE || code === SLASH || code === BACKSLASH ? code : LF;
}

/** The character of ASCII that stands for this one; 0: none does, because it has no width. */
function plainCode(code: number): number {
  if (code >= 0xff01 && code <= 0xff5e) return code - 0xfee0;
  if (code >= 0x2010 && code <= 0x2015) return HYPHEN;
  for (const zero of zeros) if (code >= zero && code <= zero + 9) return ZERO + code - zero;
  if (withoutWidth.has(code)) return 0;
  if (code === 0x2212) return HYPHEN;
  if ((code >= 0x2000 && code <= 0x200a) || spaces.has(code)) return SPACE;
  return code;
}

/** The digits zero of Arabic, Persian and Devanagari. */
const zeros = [0x0660, 0x06f0, 0x0966];
const withoutWidth = new Set([0x00ad, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2060, 0xfeff]);
const spaces = new Set([0x00a0, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000]);
const LF = 0x0a;
const SPACE = 0x20;
const QUOTE = 0x22;
const HYPHEN = 0x2d;
const SLASH = 0x2f;
const ZERO = 0x30;
const BACKSLASH = 0x5c;
