import { SpillwayError } from '@spillway/core';
import { cardRule } from './card-rule.ts';
import { viewOf } from './char-view.ts';
import { emailRule } from './email-rule.ts';
import { keyRule } from './key-rule.ts';
import { phoneRule } from './phone-rule.ts';
import {
  codeAt,
  isAlphanumeric,
  maxOtherLength,
  type OtherRules,
  type RedactionRule,
  type SeenText,
} from './redaction-rule.ts';

/** The rules that have names in a configuration, in the order in which they should be given. */
export const redactionRules = {
  key: keyRule,
  email: emailRule,
  card: cardRule,
  phone: phoneRule,
} as const satisfies Readonly<Record<string, RedactionRule>>;

/** Replaces what the rules find in one text that comes in parts. */
export interface Redactor {
  /** Takes the next part. Returns what is decided: all but what may be the beginning of a match. */
  push(part: string): string;
  /** Returns what was held back. What is pushed after that is a new text. */
  flush(): string;
  /** Places that were replaced. */
  readonly count: number;
  /** Characters that are held back: fewer than the longest `maxLength`, where an escape is one character. */
  readonly heldLength: number;
}

/** What became of a text. */
export interface Redacted {
  readonly text: string;
  /** Places that were replaced. */
  readonly redacted: number;
}

/**
 * Replaces everything that a rule finds by the rule's name in brackets: `[email]`. Everything else stays as it was. Where
 * two rules find something at the same place, the first one counts. However a text is cut into parts, the result is the
 * same. Takes linear time.
 *
 * @example
 * ```ts
 * redactText('Write to ada@example.com.', [emailRule]).text; // 'Write to [email].'
 * ```
 *
 * @throws {SpillwayError} `invalid_option`: a rule whose name or `maxLength` is out of its range
 */
export function redactText(text: string, rules: readonly RedactionRule[]): Redacted {
  const { clean } = preparedOf(rules);
  if (clean.has(text)) return { text, redacted: 0 };
  const redactor = createRedactor(rules);
  const whole = redactor.push(text) + redactor.flush();
  if (redactor.count === 0 && text.length <= maxCleanLength) {
    if (clean.size === maxClean) clean.clear();
    clean.add(ownCopy(text));
  }
  return { text: whole, redacted: redactor.count };
}

/**
 * Creates a redactor for one text that comes in parts, such as what a model says.
 *
 * `isJson`: the text is JSON, such as the arguments of a tool. Digits that are found outside its strings are
 * replaced by 0, so that it stays JSON. Escapes of JSON are understood in any text.
 *
 * @throws {SpillwayError} `invalid_option`: a rule whose name or `maxLength` is out of its range
 */
export function createRedactor(rules: readonly RedactionRule[], isJson = false): Redactor {
  return new TextRedactor(preparedOf(rules), isJson);
}

/** Rules, and which of them may begin with a character of ASCII. */
interface Prepared {
  readonly rules: readonly RedactionRule[];
  /** By the character's code. */
  readonly beginning: readonly (readonly RedactionRule[])[];
  /** The same for a letter or digit after another one. */
  readonly inWord: readonly (readonly RedactionRule[])[];
  /** Short texts in which nothing was found: what each event repeats, such as its keys. */
  readonly clean: Set<string>;
}

/** Each list of rules is prepared once, however many texts it is used for. */
const prepared = new WeakMap<readonly RedactionRule[], Prepared>();
const asciiCount = 128;
/** More than a format's events have keys and fixed values. */
const maxClean = 1024;
const maxCleanLength = 64;

function preparedOf(rules: readonly RedactionRule[]): Prepared {
  const known = prepared.get(rules);
  if (known !== undefined) return known;
  for (const { maxLength, name } of rules) {
    if (/^[a-z0-9-]{1,32}$/.test(name) && maxLength >= 1 && maxLength <= 4096) continue;
    throw new SpillwayError(
      'invalid_option',
      `A redaction rule: expected a name of 1 to 32 of a-z, 0-9 and "-", and a maxLength of 1 to 4096, got ${JSON.stringify(name)} and ${maxLength}.`,
    );
  }
  const beginning = Array.from({ length: asciiCount }, (_, code) =>
    rules.filter(({ first }) => first === undefined || first.includes(String.fromCharCode(code))),
  );
  const inWord = beginning.map((all, code) =>
    all.filter(({ isWord }) => isWord !== true || !isAlphanumeric(code)),
  );
  const made: Prepared = { rules, beginning, inWord, clean: new Set() };
  prepared.set(rules, made);
  return made;
}

class TextRedactor implements Redactor {
  readonly #prepared: Prepared;
  readonly #isJson: boolean;
  /** What is held back, as it was written. */
  #held = '';
  /** The two characters before that which a rule may look at. */
  #before = '';
  /** Says whether a match goes on; `undefined`: none does. */
  #tail: ((code: number) => boolean) | undefined;
  /** Whether the place is inside a string of JSON. */
  #isInString = false;
  count = 0;

  constructor(ready: Prepared, isJson: boolean) {
    this.#prepared = ready;
    this.#isJson = isJson;
  }

  get heldLength(): number {
    return this.#held.length;
  }

  push(part: string): string {
    this.#held += part;
    return this.#release(false);
  }

  flush(): string {
    const rest = this.#release(true);
    this.#before = '';
    this.#tail = undefined;
    this.#isInString = false;
    return rest;
  }

  #release(isEnd: boolean): string {
    const raw = this.#held;
    const view = viewOf(raw, isEnd, this.#isJson);
    const base = this.#before.length;
    const text = this.#before + view.text;
    let isAfterWord = base > 0 && isAlphanumeric(text.charCodeAt(base - 1));
    let seen: SeenText = { text, start: 0, isEnd };
    let asking: RedactionRule | undefined;
    const others: OtherRules = {
      find: (index) => {
        const isInWord = isAlphanumeric(codeAt(seen, index - 1));
        let isOpen = false;
        for (const rule of candidatesOf(this.#prepared, codeAt(seen, index), isInWord)) {
          if (rule === asking || rule.maxLength > maxOtherLength) continue;
          const length = rule.match(seen, index, noOthers);
          if (length !== undefined && length > 0) return true;
          if (length === undefined && !isEnd && text.length - index < rule.maxLength) isOpen = true;
        }
        return isOpen ? undefined : false;
      },
    };
    let at = base;
    /** What stands before this index in `raw` is written or replaced. */
    let done = 0;
    let out = '';
    const writeTo = (end: number): void => {
      if (end <= done) return;
      const part = raw.slice(done, end);
      if (this.#isJson) this.#isInString = endsInString(part, this.#isInString);
      out += part;
      done = end;
    };
    scan: while (at < text.length) {
      if (this.#tail !== undefined) {
        if (this.#tail(text.charCodeAt(at))) {
          at += 1;
          continue;
        }
        this.#tail = undefined;
        // What has no width after a match goes with it.
        done = view.rawStart(at - base);
        seen = { text, start: at, isEnd };
        isAfterWord = false;
      }
      const code = text.charCodeAt(at);
      const candidates = candidatesOf(this.#prepared, code, isAfterWord);
      isAfterWord = isAlphanumeric(code);
      let skipped = 1;
      for (const rule of candidates) {
        asking = rule;
        const length = rule.match(seen, at, others);
        if (length === undefined && !isEnd && text.length - at < rule.maxLength) break scan;
        if (length === undefined || length <= 0) continue;
        writeTo(view.rawStart(at - base));
        const isNumber = this.#isJson && !this.#isInString && /^[0-9]+$/.test(text.slice(at, at + length));
        out += isNumber ? '0' : `[${rule.name}]`;
        this.count += 1;
        this.#tail = rule.tail?.(seen, at) ?? noTail;
        skipped = Math.min(length, text.length - at);
        break;
      }
      at += skipped;
    }
    if (this.#tail === undefined) {
      // A pair of surrogates is not taken apart.
      const isHalf = !isEnd && at === text.length && isHighSurrogate(text.charCodeAt(at - 1)) && at > base;
      if (isHalf) at -= 1;
      writeTo(at === text.length ? view.rawEnd : view.rawStart(at - base));
      this.#before = text.slice(Math.max(seen.start, at - 2), at);
    } else {
      done = view.rawEnd;
      this.#before = '';
    }
    if (isEnd) writeTo(raw.length);
    this.#held = ownCopy(raw.slice(done));
    return out;
  }
}

/** The rules of which a match may begin with the character, after a letter or digit or after another one. */
function candidatesOf(
  { beginning, inWord, rules }: Prepared,
  code: number,
  isAfterWord: boolean,
): readonly RedactionRule[] {
  return code >= asciiCount ? rules : ((isAfterWord ? inWord : beginning)[code] ?? rules);
}

const noTail = (): boolean => false;
/** For a rule that is asked by another one. */
const noOthers: OtherRules = { find: () => false };

/** A copy: a part of a text keeps the whole text in memory. */
export function ownCopy(text: string): string {
  return ` ${text}`.slice(1);
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}

/** Whether JSON that goes on with `part` is inside a string at its end. Escapes are whole. */
function endsInString(part: string, isInString: boolean): boolean {
  let isIn = isInString;
  for (let at = 0; at < part.length; at += 1) {
    const character = part[at];
    if (character === '\\' && isIn) at += 1;
    else if (character === '"') isIn = !isIn;
  }
  return isIn;
}
