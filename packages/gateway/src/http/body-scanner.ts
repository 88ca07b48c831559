import { GatewayError } from '@spillway/server/errors';

/** A part of a body: the bytes `[start, end)`, counted from the body's first byte. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Where the value of a member of an object stands, and what has to go with it if it is removed. */
export interface Member extends ByteRange {
  /** Where its name begins, with its quote. */
  readonly nameStart: number;
  /** The comma before its name; `undefined`: it is the first member. */
  readonly commaBefore: number | undefined;
  /** The comma behind its value; `undefined`: it is the last member. */
  readonly commaAfter: number | undefined;
}

/** A JSON object, as far as it was scanned. */
export interface ScannedObject {
  /** Where its members begin: behind its brace. */
  readonly bodyStart: number;
  /** Whether it has no member at all. */
  readonly isEmpty: boolean;
  /** The names that were looked for. */
  readonly names: readonly string[];
  /** The members of these names that are there, once each. */
  readonly members: ReadonlyMap<string, Member>;
  /** Those of the names that are there more than once, where that is no reason to refuse the body: each time in turn. */
  readonly doubled: ReadonlyMap<string, readonly Member[]>;
}

/** Where the values of `model` and `stream` of a body stand; `undefined`: not there. */
export interface NamedValues {
  /** The JSON object that the body is; `undefined`: it is a form, and its values are bare text. */
  readonly object: ScannedObject | undefined;
  readonly model: ByteRange | undefined;
  readonly stream: ByteRange | undefined;
}

/** Finds the values of `model`, `stream` and other members as a body's bytes come. */
export interface Scanner {
  /** Takes the next bytes. */
  push(bytes: Buffer): void;
  /**
   * To be called after the last bytes.
   *
   * @throws {GatewayError} `invalid_request` if it is ambiguous which model is meant.
   */
  end(): NamedValues;
}

/** The body is not a JSON object. */
export class NoJsonError extends GatewayError {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_request', message, options);
  }
}

/**
 * The most objects and arrays inside of each other. No request nests so deeply, and many parsers stop there,
 * too.
 */
export const maxBodyDepth = 1000;

/** The most members of one name where several may come: what is kept of each is more than its bytes. */
const maxOfOneName = 8;

/** After so many bytes a JSON string is searched by native code. */
const nearBytes = 64;

export interface BodyScannerOptions {
  /** The members that are looked for: names of ASCII letters, digits, "_" and "-". Default: `model` and `stream`. */
  readonly names?: readonly string[];
  /** Those of the `names` that may come several times, up to eight. Which one counts is then not known. Default: none. */
  readonly optional?: readonly string[];
  /** Where the object's first byte stands in the body. Default: 0. */
  readonly start?: number;
}

/** The members that are looked for in every body. */
export const ownNames: readonly string[] = ['model', 'stream'];

/**
 * Finds the members with the `names` asked for in a JSON object as its bytes come, without building values. A
 * state machine looks at each byte once, so neither nesting nor cuts cost anything. One file, because a byte means what the state says, and
 * every state leads to others.
 *
 * Keys, colons, commas and brackets have to stand where JSON has them. How numbers, literals and escapes look
 * is left to the provider, and a byte order mark is allowed. A name that comes twice is refused, if it is not `optional`: some
 * parsers take the first value and some the last, and the provider must read the same model as the gateway.
 */
export class BodyScanner implements Scanner {
  #state = START;
  /** Where the next byte stands in the body. */
  #offset: number;
  /** The bytes of a byte order mark that the body began with: 0 to 3. */
  #markBytes = 0;
  #depth = 0;
  /** 1 at the depths where the open value is an array. */
  readonly #isList = new Uint8Array(maxBodyDepth + 1);
  /**
   * The start of a key of the top level that goes on in the next bytes. No longer than needed to tell whether
   * it is a name.
   */
  #keyHead: Buffer = noBytes;
  /** The name whose value is expected or has begun. */
  #name: string | undefined;
  #nameStart = 0;
  #valueStart = 0;
  /** The last comma of the top level. */
  #comma: number | undefined;
  /** The last member that was found, while no comma came behind it. */
  #last: { commaAfter: number | undefined } | undefined;
  #bodyStart = 0;
  #isEmpty = true;
  readonly #members = new Map<string, Member>();
  readonly #start: number;
  #problem: GatewayError | undefined;
  readonly #names: readonly string[];
  readonly #optional: readonly string[];
  readonly #doubled = new Map<string, Member[]>();
  /** The longest spelling of a name, with every character escaped. A longer key is none of them. */
  readonly #maxNameBytes: number;

  constructor({ names = ownNames, optional = [], start = 0 }: BodyScannerOptions = {}) {
    this.#names = names;
    this.#optional = optional;
    this.#offset = this.#start = start;
    this.#maxNameBytes = 6 * Math.max(...this.#names.map(({ length }) => length));
  }

  push(bytes: Buffer): void {
    if (this.#problem === undefined) this.#scan(bytes);
    this.#offset += bytes.length;
  }

  /**
   * @throws {NoJsonError} if the body was no JSON object.
   * @throws {GatewayError} `invalid_request` if it is nested too deeply or ambiguous.
   */
  end(): NamedValues & { readonly object: ScannedObject } {
    if (this.#problem !== undefined) throw this.#problem;
    if (this.#state !== DONE) throw new NoJsonError(noJson);
    const members = this.#members;
    const doubled = this.#doubled;
    for (const name of doubled.keys()) members.delete(name);
    return {
      object: { bodyStart: this.#bodyStart, isEmpty: this.#isEmpty, names: this.#names, members, doubled },
      model: members.get('model'),
      stream: members.get('stream'),
    };
  }

  #scan(bytes: Buffer): void {
    const { length } = bytes;
    let state = this.#state;
    // The start of the current key of the top level.
    let keyStart = 0;
    // For the current JSON string: up to where it is scanned byte by byte, and where its next quote and
    // backslash are.
    let nearEnd = nearBytes;
    let quoteAt = -1;
    let escapeAt = -1;
    let first = 0;
    if (state === START) {
      first = this.#skipMark(bytes);
      if (first < length && this.#markBytes % byteOrderMark.length !== 0)
        return this.#fail(state, bytes[first] ?? 0);
    }
    for (let at = first; at < length; at += 1) {
      const byte = bytes[at] ?? 0;
      switch (state) {
        case KEY_TEXT:
        case TEXT:
          if (byte === BACKSLASH) {
            state += ESCAPED;
          } else if (byte === QUOTE) {
            if (state === TEXT) {
              this.#valueEnds(at + 1);
              state = AFTER_VALUE;
            } else {
              if (this.#depth === 1) this.#keyEnds(bytes, keyStart, at);
              if (this.#problem !== undefined) return;
              state = COLON;
            }
          } else if (at >= nearEnd) {
            // Native search is faster in a long string, and slower in a short one. Each byte is searched at
            // most once for a quote and once for a backslash.
            if (quoteAt < at) quoteAt = indexOrEnd(bytes, QUOTE, at);
            if (escapeAt < at) escapeAt = indexOrEnd(bytes, BACKSLASH, at);
            at = Math.min(quoteAt, escapeAt) - 1;
            nearEnd = at + nearBytes;
          }
          continue;
        case KEY_TEXT + ESCAPED:
        case TEXT + ESCAPED:
          state -= ESCAPED;
          continue;
        case PLAIN:
          if (kinds[byte] === PLAIN_BYTE) continue;
          this.#valueEnds(at);
          state = AFTER_VALUE;
          break;
        default:
      }
      switch (kinds[byte]) {
        case SPACE:
          continue;
        case PLAIN_BYTE:
          if (state !== VALUE && state !== ITEM) return this.#fail(state, byte);
          this.#valueStarts(at);
          state = PLAIN;
          continue;
        case QUOTE:
          if (state === KEY || state === FIRST_KEY) {
            if (this.#depth === 1) this.#nameStart = this.#offset + at;
            keyStart = at + 1;
            nearEnd = at + nearBytes;
            state = KEY_TEXT;
          } else if (state === VALUE || state === ITEM) {
            this.#valueStarts(at);
            nearEnd = at + nearBytes;
            state = TEXT;
          } else {
            return this.#fail(state, byte);
          }
          continue;
        case COLON_BYTE:
          if (state !== COLON) return this.#fail(state, byte);
          state = VALUE;
          continue;
        case COMMA:
          if (state !== AFTER_VALUE) return this.#fail(state, byte);
          if (this.#depth === 1) this.#commaComes(at);
          state = this.#isList[this.#depth] === 1 ? VALUE : KEY;
          continue;
        case OPEN_OBJECT:
        case OPEN_LIST: {
          const isList = byte === OPEN_LIST;
          if (state !== VALUE && state !== ITEM && (state !== START || isList))
            return this.#fail(state, byte);
          if (this.#depth === maxBodyDepth) {
            return this.#refuse(
              `The body: expected at most ${maxBodyDepth} objects and arrays inside of each other, got more.`,
            );
          }
          this.#valueStarts(at);
          if (state === START) this.#bodyStart = this.#offset + at + 1;
          this.#depth += 1;
          this.#isList[this.#depth] = isList ? 1 : 0;
          state = isList ? ITEM : FIRST_KEY;
          continue;
        }
        case CLOSE_OBJECT:
        case CLOSE_LIST: {
          const isList = byte === CLOSE_LIST;
          const isEmpty = state === (isList ? ITEM : FIRST_KEY);
          if (!isEmpty && (state !== AFTER_VALUE || (this.#isList[this.#depth] === 1) !== isList)) {
            return this.#fail(state, byte);
          }
          this.#depth -= 1;
          this.#valueEnds(at + 1);
          state = this.#depth === 0 ? DONE : AFTER_VALUE;
          continue;
        }
        default:
          return this.#fail(state, byte);
      }
    }
    if (this.#depth === 1 && (state === KEY_TEXT || state === KEY_TEXT + ESCAPED)) {
      this.#keepKey(bytes.subarray(keyStart));
    }
    this.#state = state;
  }

  /** The bytes of these that belong to a byte order mark. A mark has nothing before it. */
  #skipMark(bytes: Buffer): number {
    let count = 0;
    while (
      count < bytes.length &&
      this.#markBytes === this.#offset - this.#start + count &&
      bytes[count] === byteOrderMark[this.#markBytes]
    ) {
      this.#markBytes += 1;
      count += 1;
    }
    return count;
  }

  #fail(state: number, byte: number): void {
    const kind = state === START ? kindOfJson(byte) : undefined;
    this.#problem = new NoJsonError(
      kind === undefined ? noJson : `The body: expected a JSON object, got ${kind}.`,
    );
  }

  #refuse(message: string): void {
    this.#problem = new GatewayError('invalid_request', message);
  }

  #valueStarts(at: number): void {
    if (this.#depth === 1) this.#valueStart = this.#offset + at;
  }

  #valueEnds(at: number): void {
    if (this.#depth !== 1 || this.#name === undefined) return;
    const [start, end, nameStart, commaBefore] = [
      this.#valueStart,
      this.#offset + at,
      this.#nameStart,
      this.#comma,
    ];
    const member = { start, end, nameStart, commaBefore, commaAfter: undefined };
    const doubled = this.#doubled.get(this.#name);
    if (doubled === undefined) this.#members.set(this.#name, member);
    else doubled.push(member);
    this.#last = member;
    this.#name = undefined;
  }

  #commaComes(at: number): void {
    this.#comma = this.#offset + at;
    if (this.#last === undefined) return;
    this.#last.commaAfter = this.#comma;
    this.#last = undefined;
  }

  /** A key of the top level has ended: `#keyHead` and then `bytes[start, end)`. */
  #keyEnds(bytes: Buffer, start: number, end: number): void {
    this.#isEmpty = false;
    let name: string | undefined;
    if (this.#keyHead.length === 0) {
      name = nameAt(this.#names, bytes, start, end);
    } else {
      this.#keepKey(bytes.subarray(start, end));
      name = nameAt(this.#names, this.#keyHead, 0, this.#keyHead.length);
      this.#keyHead = noBytes;
    }
    this.#name = name;
    const before = name === undefined ? undefined : this.#members.get(name);
    if (name === undefined || before === undefined) return;
    const all = this.#doubled.get(name) ?? [before];
    if (!this.#optional.includes(name) || all.length === maxOfOneName) this.#problem = severalOf(name);
    else this.#doubled.set(name, all);
  }

  /** Keeps the start of a key. One byte more than the longest name is enough to know that it is none. */
  #keepKey(bytes: Buffer): void {
    const room = this.#maxNameBytes + 1 - this.#keyHead.length;
    this.#keyHead = Buffer.concat([this.#keyHead, bytes.subarray(0, room)]);
  }
}

/** The error of a member that is there more than once. */
export function severalOf(name: string): GatewayError {
  return new GatewayError('invalid_request', `${name}: expected one, got several.`);
}

/** The kind of JSON value that begins with this byte; `undefined`: none. */
function kindOfJson(byte: number | undefined): string | undefined {
  switch (byte) {
    case OPEN_LIST:
      return 'an array';
    case OPEN_OBJECT:
      return 'an object';
    case QUOTE:
      return 'a string';
    case 0x74:
    case 0x66:
      return 'a boolean';
    case 0x6e:
      return 'null';
    default:
      return byte === 0x2d || (byte !== undefined && byte >= 0x30 && byte <= 0x39) ? 'a number' : undefined;
  }
}

function indexOrEnd(bytes: Buffer, byte: number, from: number): number {
  const index = bytes.indexOf(byte, from);
  return index === -1 ? bytes.length : index;
}

/** The name that the key `bytes[start, end)` spells, with escapes read; `undefined`: none. */
function nameAt(names: readonly string[], bytes: Buffer, start: number, end: number): string | undefined {
  return names.find((name) => isName(bytes, start, end, name));
}

function isName(bytes: Buffer, start: number, end: number, name: string): boolean {
  let at = start;
  for (let index = 0; index < name.length; index += 1) {
    if (at >= end) return false;
    const letter = name.charCodeAt(index);
    if (bytes[at] === letter) {
      at += 1;
    } else {
      if (bytes[at] !== BACKSLASH || !isEscape(bytes, at + 1, letter)) return false;
      at += 6;
    }
  }
  return at === end;
}

/** Whether the bytes are the escape of `letter` after its backslash, such as `u006d` for m. */
function isEscape(bytes: Buffer, start: number, letter: number): boolean {
  if (bytes[start] !== 0x75 || bytes[start + 1] !== 0x30 || bytes[start + 2] !== 0x30) return false;
  return bytes[start + 3] === 0x30 + (letter >> 4) && isHexDigit(bytes[start + 4], letter & 15);
}

function isHexDigit(byte: number | undefined, digit: number): boolean {
  // Hexadecimal letters may be in upper or lower case.
  return byte !== undefined && (digit < 10 ? byte === 0x30 + digit : (byte | 0x20) === 0x57 + digit);
}

const noBytes = Buffer.alloc(0);
const byteOrderMark = Buffer.from('\u{feff}');
export const noJson = 'The body: expected a JSON object, got something that is no JSON.';

// The states: what is expected next, or what the current byte is in.
const START = 0;
const FIRST_KEY = 1;
const KEY = 2;
const COLON = 3;
const VALUE = 4;
/** A value, or the end of an empty array. */
const ITEM = 5;
const AFTER_VALUE = 6;
const DONE = 7;
/** A number or a literal. */
const PLAIN = 8;
const TEXT = 9;
const KEY_TEXT = 10;
/** Added to a string's state for the byte after a backslash. */
const ESCAPED = 2;

// The kinds of bytes outside of strings. A byte with a meaning of its own is its own kind.
const SPACE = 1;
const PLAIN_BYTE = 2;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON_BYTE = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const kinds = new Uint8Array(256);
for (const byte of Buffer.from(' \t\r\n')) kinds[byte] = SPACE;
for (const byte of Buffer.from('+-.0123456789')) kinds[byte] = PLAIN_BYTE;
for (let letter = 0x61; letter <= 0x7a; letter += 1) kinds[letter] = kinds[letter - 0x20] = PLAIN_BYTE;
for (const byte of Buffer.from('",:[]{}')) kinds[byte] = byte;
