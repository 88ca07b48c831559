import { codeAt, digits, isAlphanumeric, isDigit, type RedactionRule } from './redaction-rule.ts';

const minDigits = 13;
const maxDigits = 19;

/**
 * Numbers of payment cards: 13 to 19 digits, with at most one space or dash between two of them, whose check digit
 * (Luhn) is right. The first digit is 2 to 6, as for all cards of banks. So times in milli-, micro- and nanoseconds are
 * none.
 */
export const cardRule: RedactionRule = {
  name: 'card',
  isWord: true,
  first: digits,
  maxLength: maxDigits * 2 + 2,
  match(seen, at) {
    const first = codeAt(seen, at);
    if (first < TWO || first > SIX) return 0;
    const before = codeAt(seen, at - 1);
    if (isAlphanumeric(before) || (before === DOT && isDigit(codeAt(seen, at - 2)))) return 0;
    // The check digit doubles every second digit, counted from the end. Which these are shows at the end.
    let evenDoubled = 0;
    let oddDoubled = 0;
    let length = 0;
    let count = 0;
    let index = at;
    for (; count < maxDigits; count += 1) {
      const code = codeAt(seen, index);
      if (!isDigit(code)) break;
      const digit = code - ZERO;
      const doubled = digit > 4 ? digit * 2 - 9 : digit * 2;
      evenDoubled += count % 2 === 0 ? doubled : digit;
      oddDoubled += count % 2 === 0 ? digit : doubled;
      index += 1;
      const next = codeAt(seen, index);
      if (isDigit(next)) continue;
      const sum = count % 2 === 0 ? oddDoubled : evenDoubled;
      const isEnd = !isAlphanumeric(next) && !(next === DOT && isDigit(codeAt(seen, index + 1)));
      if (count + 1 >= minDigits && isEnd && sum % 10 === 0) length = index - at;
      if (next === SPACE || next === HYPHEN) index += 1;
    }
    // One more character, because a dot may be the end of a sentence or the point of a number.
    return index + 1 >= seen.text.length && !seen.isEnd ? undefined : length;
  },
};

const SPACE = 0x20;
const HYPHEN = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const TWO = 0x32;
const SIX = 0x36;
