import {
  alphanumerics,
  asciiTable,
  codeAt,
  isAlphanumeric,
  isLetter,
  type RedactionRule,
  type SeenText,
} from './redaction-rule.ts';

const localCharacters = `${alphanumerics}._%+-`;
const localCodes = asciiTable(localCharacters);

/** As in RFC 5321. */
const maxLocalLength = 64;
const maxDomainLength = 253;

/**
 * Addresses of e-mail: up to 64 letters, digits or `._%+-`, an `@`, and a domain whose last part begins with a letter
 * and has two characters or more.
 */
export const emailRule: RedactionRule = {
  name: 'email',
  isWord: true,
  first: localCharacters,
  maxLength: maxLocalLength + maxDomainLength + 2,
  match(seen, at) {
    if (isLocal(codeAt(seen, at - 1))) return 0;
    let index = at;
    while (isLocal(codeAt(seen, index)) && index - at <= maxLocalLength) index += 1;
    if (index === at || index - at > maxLocalLength) return 0;
    if (index === seen.text.length) return undefined;
    if (codeAt(seen, index) !== AT) return 0;
    const end = domainEnd(seen, index + 1);
    return end === undefined ? undefined : Math.max(0, end - at);
  },
};

/** Where the domain that begins at `from` ends; -1: none does; `undefined`: it may go on behind the text. */
function domainEnd(seen: SeenText, from: number): number | undefined {
  let end = -1;
  let label = from;
  let at = from;
  for (; at - from < maxDomainLength; at += 1) {
    const code = codeAt(seen, at);
    if (isAlphanumeric(code) || (code === HYPHEN && at > label)) {
      // A last part may end in any of its letters and digits, because what follows may be no domain any more.
      if (label > from && at > label && isLetter(codeAt(seen, label)) && code !== HYPHEN) end = at + 1;
    } else if (code === DOT && at > label) {
      label = at + 1;
    } else {
      break;
    }
  }
  const isOpen = at === seen.text.length && at - from < maxDomainLength && !seen.isEnd;
  return isOpen ? undefined : end;
}

function isLocal(code: number): boolean {
  return code < 0x80 ? localCodes[code] === 1 : isLetter(code);
}

const HYPHEN = 0x2d;
const DOT = 0x2e;
const AT = 0x40;
