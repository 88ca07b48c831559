import { SpillwayError } from '@spillway/core';
import {
  alphanumerics,
  codeAt,
  digits,
  isAlphanumeric,
  isDigit,
  type RedactionRule,
  type SeenText,
} from './redaction-rule.ts';

const maxMaskLength = 128;

/**
 * A rule of one's own: finds what looks like one of the masks. In a mask `#` stands for a digit and `?` for a letter or
 * digit; everything else stands for itself, in upper or lower case. A match that begins or ends with a letter or digit
 * is no part of a longer word or number. There are no repetitions, so that the time is linear whatever the masks are.
 *
 * @example
 * ```ts
 * const patient = createMaskRule('patient', ['PAT-######', 'case ??-####']);
 * ```
 *
 * @throws {SpillwayError} `invalid_option`: a name that is not 1 to 32 characters of `a-z`, digits and `-`; no mask; a
 *   mask that is empty, has more than 128 characters, or nothing but `#`, `?` and space
 */
export function createMaskRule(name: string, masks: readonly string[]): RedactionRule {
  if (!/^[a-z0-9-]{1,32}$/.test(name))
    throw new SpillwayError(
      'invalid_option',
      `A redaction rule's name: expected 1 to 32 of a-z, 0-9 and "-", got ${JSON.stringify(name)}.`,
    );
  const lowered = masks.map((mask) => mask.toLowerCase());
  for (const mask of lowered) {
    if (mask.length <= maxMaskLength && /[^#?\s]/.test(mask)) continue;
    throw new SpillwayError(
      'invalid_option',
      `A mask of the redaction rule ${name}: expected 1 to ${maxMaskLength} characters, one of them to stand for itself, got ${JSON.stringify(mask)}.`,
    );
  }
  if (lowered.length === 0)
    throw new SpillwayError('invalid_option', `The redaction rule ${name}: expected a mask, got none.`);
  const isAnyFirst = lowered.some((mask) => mask.charCodeAt(0) >= 0x80);
  return {
    name,
    ...(isAnyFirst ? {} : { first: [...new Set(lowered.map(firstOf))].join('') }),
    isWord: true,
    maxLength: Math.max(...lowered.map((mask) => mask.length)) + 1,
    match(seen, at) {
      let open = false;
      for (const mask of lowered) {
        const length = maskLength(seen, at, mask);
        if (length === undefined) open = true;
        else if (length > 0) return open ? undefined : length;
      }
      return open ? undefined : 0;
    },
  };
}

/** What a match of the mask may begin with. */
function firstOf(mask: string): string {
  const first = mask.charAt(0);
  if (first === '#') return digits;
  return first === '?' ? alphanumerics : first + first.toUpperCase();
}

function maskLength(seen: SeenText, at: number, mask: string): number | undefined {
  const end = at + mask.length;
  if (isAlphanumeric(codeAt(seen, at)) && isAlphanumeric(codeAt(seen, at - 1))) return 0;
  for (let index = 0; index < mask.length; index += 1) {
    const code = codeAt(seen, at + index);
    if (code === -1) return undefined;
    if (!fits(code, mask.charCodeAt(index))) return 0;
  }
  if (!isAlphanumeric(codeAt(seen, end - 1))) return mask.length;
  if (end >= seen.text.length && !seen.isEnd) return undefined;
  return isAlphanumeric(codeAt(seen, end)) ? 0 : mask.length;
}

function fits(code: number, wanted: number): boolean {
  if (wanted === HASH) return isDigit(code);
  if (wanted === QUESTION) return isAlphanumeric(code);
  return code === wanted || String.fromCharCode(code).toLowerCase() === String.fromCharCode(wanted);
}

const HASH = 0x23;
const QUESTION = 0x3f;
