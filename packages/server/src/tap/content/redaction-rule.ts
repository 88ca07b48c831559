/** A part of a text, as a rule sees it. */
export interface SeenText {
  readonly text: string;
  /** Where it begins. What stands before that in `text` is not there for the rule. */
  readonly start: number;
  /** Whether no more text comes. */
  readonly isEnd: boolean;
}

/**
 * Finds one kind of personal data or secret in text. A rule is a function and not a regular expression, so that its time
 * is linear and what has to be held back is bounded. It sees a text as {@link viewOf} shows it.
 */
export interface RedactionRule {
  /** What stands in place of a match: `[name]`. `a-z`, digits and `-`, 1 to 32 characters. */
  readonly name: string;
  /** The characters of ASCII that a match may begin with. Default: any. */
  readonly first?: string;
  /**
   * Whether no match that begins with a letter or digit has a letter or digit before it. It costs much less, because few
   * places are then looked at. Default: false.
   */
  readonly isWord?: boolean;
  /**
   * The characters after which `match` has to know, 1 to 4,096. What would need more is no match. A match may go on
   * behind that, with `tail`.
   */
  readonly maxLength: number;
  /**
   * The length of the match that begins at `at`; 0: none does. `undefined`: more text is needed to know. That counts as
   * 0 after `maxLength` characters, and at the end of the text. It may look at the two characters before `at`, and must
   * answer the same whatever follows the characters that it needs.
   *
   * `others` is for a rule whose answer depends on what stands behind its match: that may be somebody else's match.
   */
  match(seen: SeenText, at: number, others: OtherRules): number | undefined;
  /**
   * For matches without a bound: called with the place of a match. Returns a function that is called with each character
   * after it, and says whether that belongs to the match, until it returns false. Default: the match ends where `match`
   * says.
   */
  tail?(seen: SeenText, at: number): (code: number) => boolean;
}

/** The rules that a text is searched by beside the one that asks. */
export interface OtherRules {
  /**
   * Whether one of them finds something that begins at `at`, a place behind the one that is asked about. `undefined`: more
   * text is needed to know. Those whose `maxLength` is above {@link maxOtherLength} are not asked: the asking rule's own
   * `maxLength` has to be longer than what they need.
   */
  find(at: number): boolean | undefined;
}

/** The longest `maxLength` of a rule that another one asks for: addresses of e-mail need that. */
export const maxOtherLength = 320;

/** The code of the character at `at`; -1 where there is none. */
export function codeAt({ start, text }: SeenText, at: number): number {
  return at < start || at >= text.length ? -1 : text.charCodeAt(at);
}

/** Whether a character is a digit of ASCII. */
export function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Whether a character is a letter or digit of ASCII, or any letter of an alphabet related to it. */
export function isAlphanumeric(code: number): boolean {
  return code < 0x80 ? alphanumericCodes[code] === 1 : isLetter(code);
}

/**
 * Whether a character is a letter: Latin, Greek or Cyrillic with their accents, or the sign for a character that was
 * cut. Scripts that are written without spaces are no letters here, so that a word ends where they begin.
 */
export function isLetter(code: number): boolean {
  const lower = code | 0x20;
  if (lower >= 0x61 && lower <= 0x7a && code < 0x80) return true;
  if (code < 0xc0) return false;
  return (code <= 0x052f && code !== 0xd7 && code !== 0xf7) || code === 0xfffd;
}

/** All letters and digits of ASCII. */
export const alphanumerics = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** All digits of ASCII. */
export const digits = '0123456789';
const alphanumericCodes = asciiTable(alphanumerics);

/** A table of the codes of ASCII: 1 for the characters in `characters`. */
export function asciiTable(characters: string): Uint8Array {
  const table = new Uint8Array(0x80);
  for (let at = 0; at < characters.length; at += 1) table[characters.charCodeAt(at)] = 1;
  return table;
}
