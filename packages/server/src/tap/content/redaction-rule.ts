/**
 * Finds one kind of personal data or secret in text. A rule is a function and not a regular expression, so that its time
 * is linear and what has to be held back is bounded.
 */
export interface RedactionRule {
  /** What stands in place of a match: `[name]`. `a-z`, digits and `-`, at most 32 characters. */
  readonly name: string;
  /**
   * The characters after which `match` has to know, 1 to 4,096. A match that would need more is none; a rule with
   * `isTail` knows before the match ends.
   */
  readonly maxLength: number;
  /**
   * The length of the match that begins at `at`. 0: none begins there. `undefined`: more text is needed to know, which
   * counts as 0 once `maxLength` characters are there, or when `isEnd` says that no more comes. It may look at the two
   * characters before `at`, and must give the same answer whatever follows the characters that it needs.
   */
  match(text: string, at: number, isEnd: boolean): number | undefined;
  /** Characters that belong to the match for as long as they follow it. Default: none. */
  isTail?(code: number): boolean;
}
