import { isSpace, isText } from './json-keys.ts';

/**
 * The rules for the parts of a JSON value when two neighbours of a stream become one: a tree with the shape of the
 * value. A part that no rule names may add up in an unknown way. Such a part has to be null, `true`, `false`, `""`,
 * `[]` or `{}`, and the same in both, or absent; otherwise the value is never merged.
 *
 * - `same`: a value that every event repeats, and that is kept once. The value has to be the same in both, byte for
 *   byte.
 * - `text`: a string that adds up (or null in both).
 * - `textButLast`: as `text`, but the last event of a run stays an event of its own, because some SDKs only read that
 *   one.
 * - `items`: an array whose items add up (or null in both).
 * - `last`: the later value replaces the earlier one; both are null or neither is.
 * - `pins`: as `same`, and where the value is not null, `last` means `same`.
 * - `oneOf`: one of the listed strings; otherwise, and where the string is absent, the value is never merged.
 * - `fields`: an object, or null in both.
 * - `list`: an array, with a rule for each of its items, or null in both.
 * - `only`: as `list`, with exactly one item; otherwise the value is never merged.
 */
export type DeltaRule =
  | 'items'
  | 'last'
  | 'pins'
  | 'same'
  | 'text'
  | 'textButLast'
  | { readonly fields: Readonly<Record<string, DeltaRule>> }
  | { readonly list: DeltaRule }
  | { readonly oneOf: readonly string[] }
  | { readonly only: DeltaRule };

/** Gives each of the names the same rule. */
export function each<Rule extends DeltaRule>(
  rule: Rule,
  ...names: readonly string[]
): Readonly<Record<string, Rule>> {
  return Object.fromEntries(names.map((name) => [name, rule]));
}

/** A part of a value's bytes that may differ from its neighbour's: `bytes[start, end)`. */
export interface Hole {
  /** `text`: the string without its quotes. `items`: the list without its brackets. `last`: the whole value. */
  readonly kind: 'items' | 'last' | 'text';
  readonly start: number;
  readonly end: number;
  /** Whether the last event of a run has to stay an event of its own. */
  readonly keepsLast: boolean;
  /** Whether the value is null. */
  readonly isNull: boolean;
}

type Compiled =
  | { readonly kind: Exclude<DeltaRule, object> | 'refused' | 'unknown' }
  | CompiledFields
  | { readonly kind: 'oneOf'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'list' | 'only'; readonly item: Compiled };

interface CompiledFields {
  readonly kind: 'fields';
  /** The fields by the `placeOf` of their keys. */
  readonly places: readonly (readonly Field[] | undefined)[];
  readonly isTyped: boolean;
}

interface Field {
  readonly key: Uint8Array;
  readonly rule: Compiled;
}

/** Finds the holes of a JSON text in `bytes[start, end)`; `undefined` when it is never merged. */
export type Dissect = (bytes: Uint8Array, start: number, end: number) => Hole[] | undefined;

/** Compiles a rule. The returned function looks at every byte once, and allocates little but the holes. */
export function createDissect(rule: DeltaRule): Dissect {
  const compiled = typeof rule === 'string' ? compile(rule) : (prepared.get(rule) ?? compile(rule));
  if (typeof rule !== 'string') prepared.set(rule, compiled);
  return (bytes, start, end) => new Dissector(bytes, start, end).run(compiled);
}

/** Compiled rules. Each rule is compiled once, however many streams use it. */
const prepared = new WeakMap<object, Compiled>();

const encoder = new TextEncoder();

/** Some SDKs refuse an event with one of these keys, and only that event. */
const refusedKeys = ['__proto__', 'constructor'];

function compile(rule: DeltaRule): Compiled {
  if (typeof rule === 'string') return { kind: rule };
  if ('list' in rule) return { kind: 'list', item: compile(rule.list) };
  if ('only' in rule) return { kind: 'only', item: compile(rule.only) };
  if ('oneOf' in rule) return { kind: 'oneOf', values: rule.oneOf.map((text) => encoder.encode(text)) };
  const known = Object.entries(rule.fields).map(([key, value]) => ({
    key: encoder.encode(key),
    rule: compile(value),
  }));
  const refused = refusedKeys.map((key) => ({
    key: encoder.encode(key),
    rule: { kind: 'refused' } as const,
  }));
  const isTyped = known.some((field) => field.rule.kind === 'oneOf');
  const places = new Array<Field[] | undefined>(64).fill(undefined);
  for (const field of [...known, ...refused]) {
    (places[placeOf(field.key[0], field.key.length)] ??= []).push(field);
  }
  return { kind: 'fields', places, isTyped };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const FIRST_OF_NULL = 0x6e;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Walks through one JSON text. Where the text is not valid JSON or breaks the rule, `#fails` is set and the walk ends.
 */
class Dissector {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #holes: Hole[] = [];
  #at: number;
  #fails = false;
  #isPinned = false;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  run(rule: Compiled): Hole[] | undefined {
    this.#skipSpace();
    this.#value(rule);
    this.#skipSpace();
    if (this.#fails || this.#at !== this.#end) return undefined;
    return this.#isPinned ? this.#holes.filter(({ kind }) => kind !== 'last') : this.#holes;
  }

  #value(rule: Compiled): void {
    const start = this.#at;
    const isNull = this.#bytes[start] === FIRST_OF_NULL;
    // Rules nest only as deep as they are written. Values without a rule are skipped without recursion.
    if (!isNull && rule.kind === 'fields') return this.#object(rule);
    if (!isNull && (rule.kind === 'list' || rule.kind === 'only')) {
      if (this.#list(rule.item) !== 1 && rule.kind === 'only') this.#fails = true;
      return;
    }
    this.#skipValue();
    switch (rule.kind) {
      case 'last':
        this.#holes.push({ kind: 'last', start, end: this.#at, keepsLast: false, isNull });
        break;
      case 'refused':
        this.#fails = true;
        break;
      case 'unknown':
        if (!this.#isPlain(start)) this.#fails = true;
        break;
      case 'pins':
        if (!isNull) this.#isPinned = true;
        break;
      case 'oneOf':
        if (!rule.values.some((value) => this.#isString(start, value))) this.#fails = true;
        break;
      case 'text':
      case 'textButLast':
        if (!isNull) this.#hole('text', start, rule.kind === 'textButLast');
        break;
      case 'items':
        if (!isNull) this.#hole('items', start, false);
        break;
      default:
    }
  }

  /** Adds a hole between the first and the last byte of the value that ends at `#at`. */
  #hole(kind: 'items' | 'text', start: number, keepsLast: boolean): void {
    const isString = kind === 'text';
    if (this.#bytes[start] !== (isString ? QUOTE : OPEN_LIST)) this.#fails = true;
    let from = start + 1;
    let to = this.#at - 1;
    if (!isString) {
      while (from < to && isSpace(this.#bytes[from])) from += 1;
      while (from < to && isSpace(this.#bytes[to - 1])) to -= 1;
    }
    this.#holes.push({ kind, start: from, end: to, keepsLast, isNull: false });
  }

  #object(fields: CompiledFields): void {
    if (!this.#take(OPEN_OBJECT)) return this.#fail();
    let hasType = !fields.isTyped;
    this.#skipSpace();
    if (this.#take(CLOSE_OBJECT)) return hasType ? undefined : this.#fail();
    do {
      this.#skipSpace();
      const key = this.#at + 1;
      // A key with an escape could be any key.
      if (this.#skipString() || this.#fails) return this.#fail();
      const rule = ruleOf(fields, this.#bytes, key, this.#at - 1);
      if (rule.kind === 'oneOf') hasType = true;
      this.#skipSpace();
      if (!this.#take(COLON)) return this.#fail();
      this.#skipSpace();
      this.#value(rule);
      this.#skipSpace();
    } while (!this.#fails && this.#take(COMMA));
    if (!hasType || !this.#take(CLOSE_OBJECT)) this.#fail();
  }

  /** Walks through a list. Returns the number of its items. */
  #list(item: Compiled): number {
    let count = 0;
    if (!this.#take(OPEN_LIST)) this.#fails = true;
    this.#skipSpace();
    if (this.#fails || this.#take(CLOSE_LIST)) return count;
    do {
      this.#skipSpace();
      this.#value(item);
      this.#skipSpace();
      count += 1;
    } while (!this.#fails && this.#take(COMMA));
    if (!this.#take(CLOSE_LIST)) this.#fails = true;
    return count;
  }

  #fail(): void {
    this.#fails = true;
  }

  #take(byte: number): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at] !== byte) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    while (this.#at < this.#end && isSpace(this.#bytes[this.#at])) this.#at += 1;
  }

  /** Skips any value without recursion, by counting brackets. Bytes outside the holes are compared later. */
  #skipValue(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let open = 0;
    let at = this.#at;
    scan: for (; at < end; at += 1) {
      switch (bytes[at]) {
        case QUOTE:
          this.#at = at;
          this.#skipString();
          at = this.#at - 1;
          if (open === 0) {
            at += 1;
            break scan;
          }
          break;
        case OPEN_OBJECT:
        case OPEN_LIST:
          open += 1;
          break;
        case CLOSE_OBJECT:
        case CLOSE_LIST:
          if (open === 0) break scan;
          open -= 1;
          if (open === 0) {
            at += 1;
            break scan;
          }
          break;
        case COMMA:
        case 0x20:
        case 0x0a:
        case 0x0d:
        case 0x09:
          if (open === 0) break scan;
          break;
        default:
      }
    }
    if (open !== 0) this.#fails = true;
    this.#at = at;
  }

  /** Skips a string. Returns whether there is an escape in it. */
  #skipString(): boolean {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.#at + 1;
    let hasEscape = false;
    if (bytes[at - 1] !== QUOTE) {
      this.#fails = true;
      return false;
    }
    while (at < end && bytes[at] !== QUOTE) {
      if (bytes[at] === BACKSLASH) {
        hasEscape = true;
        at += 1;
      }
      at += 1;
    }
    if (at >= end) this.#fails = true;
    this.#at = Math.min(at + 1, end);
    return hasEscape;
  }

  /** Whether the value from `start` to `#at` has nothing that could add up. */
  #isPlain(start: number): boolean {
    const first = this.#bytes[start];
    if (this.#at - start === 2) return first === QUOTE || first === OPEN_LIST || first === OPEN_OBJECT;
    for (const word of plainWords) if (isText(this.#bytes, start, this.#at, word)) return true;
    return false;
  }

  /** Whether the value from `start` to `#at` is this string, written without escapes. */
  #isString(start: number, text: Uint8Array): boolean {
    return this.#bytes[start] === QUOTE && isText(this.#bytes, start + 1, this.#at - 1, text);
  }
}

function ruleOf({ places }: CompiledFields, bytes: Uint8Array, start: number, end: number): Compiled {
  const fields = places[placeOf(bytes[start], end - start)];
  if (fields === undefined) return unknown;
  for (const { key, rule } of fields) if (isText(bytes, start, end, key)) return rule;
  return unknown;
}

/** The index of a field in `places`, from the first byte and the length of its key. Hardly any two fields share one. */
function placeOf(first: number | undefined, length: number): number {
  return ((first ?? 0) * 5 + length) & 63;
}

const unknown: Compiled = { kind: 'unknown' };
const plainWords = ['null', 'false', 'true'].map((word) => encoder.encode(word));
