import {
  codeAt,
  digits,
  isAlphanumeric,
  isDigit,
  maxOtherLength,
  type OtherRules,
  type RedactionRule,
  type SeenText,
} from './redaction-rule.ts';

/** Digits that stand together, and the sign between them and those before: a space, `-`, `.`, `/`, `(` or `)`. */
interface Group {
  readonly start: number;
  readonly end: number;
  readonly sign: number;
}

/** E.164 has 15 digits at most; with more there is none. */
const maxDigits = 16;
/** Those digits, two signs between any two of them, and what stands before the first. */
const maxNumberLength = 64;

/**
 * Numbers of telephones, in three ways of writing: with a country code after `+` (7 to 15 digits) or after `00`
 * (written in groups); national ones that begin with a 0 (9 to 12 digits, or 10 to 11 in one group); and North American
 * ones in groups of 3, 3 and 4. Others have nothing that tells them from any number. A number ends where a match of another
 * rule begins: the digits of a card behind it are no part of it.
 */
export const phoneRule: RedactionRule = {
  name: 'phone',
  isWord: true,
  first: `${digits}+(`,
  maxLength: maxNumberLength + maxOtherLength,
  match(seen, at, others) {
    const first = codeAt(seen, at);
    const before = codeAt(seen, at - 1);
    if (isAlphanumeric(before) || before === PLUS) return 0;
    if (first === PLUS) {
      const from = codeAt(seen, at + 1) === SPACE ? at + 2 : at + 1;
      if (from >= seen.text.length) return undefined;
      return lengthFrom(seen, at, from, others, international);
    }
    if (isJoined(seen, at, before)) return 0;
    return lengthFrom(seen, at, first === OPEN ? at + 1 : at, others, national);
  },
};

/** The number of groups that are a number; 0: none are. */
type Count = (groups: readonly Group[], seen: SeenText) => number;

function lengthFrom(
  seen: SeenText,
  at: number,
  from: number,
  others: OtherRules,
  count: Count,
): number | undefined {
  if (from >= seen.text.length) return undefined;
  const groups = groupsAt(seen, from, others);
  if (groups === undefined) return undefined;
  const last = groups[count(groups, seen) - 1];
  return last === undefined || isAlphanumeric(codeAt(seen, last.end)) ? 0 : last.end - at;
}

/** Whether digits go on what stands before them: a decimal, a date, an id. */
function isJoined(seen: SeenText, at: number, before: number): boolean {
  const beforeThat = codeAt(seen, at - 2);
  if (before === HYPHEN || before === UNDERSCORE) return isAlphanumeric(beforeThat);
  return joints.has(before) && isDigit(beforeThat);
}

/** The groups of digits from `from` on, to where another rule's match begins; `undefined`: they may go on behind the text. */
function groupsAt(seen: SeenText, from: number, others: OtherRules): Group[] | undefined {
  const groups: Group[] = [];
  let total = 0;
  let sign = 0;
  let at = from;
  while (total < maxDigits && isDigit(codeAt(seen, at))) {
    const start = at;
    const isOthers = groups.length > 0 && others.find(start);
    if (isOthers !== false) return isOthers === undefined ? undefined : groups;
    while (total < maxDigits && isDigit(codeAt(seen, at))) {
      at += 1;
      total += 1;
    }
    groups.push({ start, end: at, sign });
    sign = codeAt(seen, at);
    if (!signs.has(sign)) break;
    at += 1;
    // A bracket may have a space or dash on its outer side.
    const next = codeAt(seen, at);
    if (next === OPEN && (sign === SPACE || sign === HYPHEN)) sign = OPEN;
    else if (sign !== CLOSE || (next !== SPACE && next !== HYPHEN)) continue;
    at += 1;
  }
  return at >= seen.text.length && !seen.isEnd ? undefined : groups;
}

function international(groups: readonly Group[], { text }: SeenText): number {
  if (text.charCodeAt(groups[0]?.start ?? 0) === ZERO) return 0;
  return mostGroups(groups, 7, 15);
}

function national(groups: readonly Group[], seen: SeenText): number {
  const [first] = groups;
  if (first === undefined) return 0;
  if (codeAt(seen, first.start) !== ZERO) return northAmerican(groups, seen);
  if (codeAt(seen, first.start + 1) === ZERO) {
    const isCountry = first.end - first.start === 2 || codeAt(seen, first.start + 2) !== ZERO;
    return isCountry && groups.length > 1 ? mostGroups(groups, 9, 15) : 0;
  }
  if (first.end - first.start < 2) return 0;
  const alike = groups.slice(0, alikeFrom(groups, 2));
  const total = digitsOf(alike);
  if (alike.length === 1) return total === 10 || total === 11 ? 1 : 0;
  // Dots are between pairs only; otherwise it could be a date or an address of a machine.
  if (alike[1]?.sign === DOT && !alike.every(({ end, start }) => end - start === 2)) return 0;
  return total >= 9 && total <= 12 ? alike.length : 0;
}

function northAmerican(groups: readonly Group[], seen: SeenText): number {
  const [first] = groups;
  const skipped =
    first !== undefined && first.end - first.start === 1 && codeAt(seen, first.start) === ONE ? 1 : 0;
  const [area, exchange, line, rest] = groups.slice(skipped);
  if (area === undefined || exchange === undefined || line === undefined) return 0;
  const lengths = [area, exchange, line].map(({ end, start }) => end - start).join(' ');
  if (lengths !== '3 3 4' || !isAreaDigit(seen, area) || !isAreaDigit(seen, exchange)) return 0;
  if (exchange.sign !== CLOSE && exchange.sign !== line.sign) return 0;
  return rest !== undefined && rest.sign === line.sign ? 0 : skipped + 3;
}

function isAreaDigit(seen: SeenText, { start }: Group): boolean {
  return codeAt(seen, start) >= TWO;
}

/** How many of the groups go together: from `from` on, the signs between them are the same. */
function alikeFrom(groups: readonly Group[], from: number): number {
  const sign = groups[from]?.sign;
  if (sign !== groups[from - 1]?.sign && sign !== SPACE && sign !== HYPHEN)
    return Math.min(groups.length, from);
  const end = groups.findIndex((group, index) => index > from && group.sign !== sign);
  return end === -1 ? groups.length : end;
}

/** As many groups as have `max` digits at most; 0 if these have fewer than `min`. */
function mostGroups(groups: readonly Group[], min: number, max: number): number {
  let count = groups.length;
  while (digitsOf(groups.slice(0, count)) > max) count -= 1;
  return digitsOf(groups.slice(0, count)) >= min ? count : 0;
}

function digitsOf(groups: readonly Group[]): number {
  return groups.reduce((sum, { end, start }) => sum + end - start, 0);
}

const SPACE = 0x20;
const OPEN = 0x28;
const CLOSE = 0x29;
const PLUS = 0x2b;
const HYPHEN = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const ONE = 0x31;
const TWO = 0x32;
const UNDERSCORE = 0x5f;
const signs = new Set([SPACE, HYPHEN, DOT, SLASH, CLOSE]);
const joints = new Set([SPACE, DOT, SLASH, 0x2c, 0x3a, CLOSE]);
