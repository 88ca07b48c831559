import { GatewayError } from '@spillway/server/errors';
import type { ByteRange, NamedValues, Scanner } from './body-scanner.ts';

/** The longest head of a part that is looked at. Clients write some 200 bytes. */
const maxHeadBytes = 8192;
/** The longest line with a delimiter, behind the delimiter: it may be padded with spaces. */
const maxPaddingBytes = 64;

/**
 * Finds the part named `model` in multipart/form-data (RFC 7578) as its bytes come. Looks for delimiters and reads the heads of
 * parts; what is in the other parts is never looked at, and what may still become a delimiter or a head is all that it
 * keeps. Line ends may be bare, and the last delimiter may be missing: some parsers take that, too.
 */
export class FormScanner implements Scanner {
  /** With the end of the line in front, which is no part of the content (RFC 2046, 5.1.1). */
  readonly #delimiter: Buffer;
  /** What is not decided yet. A line's end is put in front of the body, as its first delimiter has none. */
  #rest: Buffer = Buffer.from('\n');
  /** Where that begins in the body. */
  #offset = -1;
  #state: 'content' | 'done' | 'head' = 'content';
  #modelStart: number | undefined;
  #model: ByteRange | undefined;
  #problem: string | undefined;

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\n--${boundary}`);
  }

  push(bytes: Buffer): void {
    if (this.#isDone) return;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let isDecided = true;
    while (isDecided) isDecided = this.#takeStep();
    // Whoever called may use the bytes again.
    this.#rest = Buffer.from(this.#isDone ? '' : this.#rest);
  }

  end(): NamedValues {
    if (this.#modelStart !== undefined) this.#modelEnds(this.#offset + this.#rest.length);
    if (this.#problem !== undefined) throw new GatewayError('invalid_request', this.#problem);
    return { isJson: false, model: this.#model, stream: undefined };
  }

  get #isDone(): boolean {
    return this.#state === 'done';
  }

  /** Returns whether there may be another step. */
  #takeStep(): boolean {
    if (this.#isDone) return false;
    return this.#state === 'head' ? this.#readHead() : this.#skipContent();
  }

  /** Returns whether all of it was there. */
  #readHead(): boolean {
    const text = this.#rest.toString('latin1', 0, maxHeadBytes);
    // The blank line may be the first.
    const blank = /(?:^|\n)\r?\n/.exec(text);
    if (blank === null) {
      if (this.#rest.length < maxHeadBytes) return false;
      this.#refuse(`The form: expected at most ${maxHeadBytes} bytes in front of a part, got more.`);
      return true;
    }
    const headBytes = blank.index + blank[0].length;
    if (nameIn(text.slice(0, headBytes)) === 'model') this.#modelStart = this.#offset + headBytes;
    this.#drop(headBytes);
    this.#state = 'content';
    return true;
  }

  /** Returns whether a delimiter was found, and what is behind it is there. */
  #skipContent(): boolean {
    const rest = this.#rest;
    for (let at = rest.indexOf(this.#delimiter); at !== -1; at = rest.indexOf(this.#delimiter, at + 1)) {
      const behind = at + this.#delimiter.length;
      const line = rest.toString('latin1', behind, behind + maxPaddingBytes);
      const [isEnd, isLine] = [line.startsWith('--'), /^[ \t]*\r?\n/.exec(line)];
      if (isEnd || isLine !== null) {
        this.#modelEnds(this.#offset + (at > 0 && rest[at - 1] === CARRIAGE_RETURN ? at - 1 : at));
        this.#drop(behind + (isLine?.[0].length ?? 0));
        this.#state = isEnd ? 'done' : 'head';
        return true;
      }
      // It may go on as either.
      if (line.length < maxPaddingBytes && /^(?:-|[ \t]*\r?)$/.test(line)) {
        this.#drop(Math.max(0, at - 1));
        return false;
      }
    }
    this.#drop(Math.max(0, rest.length - this.#delimiter.length));
    return false;
  }

  #modelEnds(end: number): void {
    if (this.#modelStart === undefined) return;
    if (this.#model !== undefined) this.#refuse('model: expected one, got several.');
    this.#model = { start: this.#modelStart, end: Math.max(this.#modelStart, end) };
    this.#modelStart = undefined;
  }

  #refuse(problem: string): void {
    this.#problem = problem;
    this.#state = 'done';
  }

  #drop(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    this.#offset += bytes;
  }
}

/** The boundary of a form, of which a content type tells; `undefined`: it is no form. */
export function boundaryOf(contentType: string): string | undefined {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) return undefined;
  return parameter(contentType, 'boundary');
}

/** The name of a part that has this head. A long line may go on in the next, which begins with a space. */
function nameIn(head: string): string | undefined {
  const lines = head.replaceAll(/\r?\n[ \t]+/g, ' ').split(/\r?\n/);
  const line = lines.find((text) => /^content-disposition\s*:/i.test(text));
  return line && parameter(line, 'name');
}

/** A parameter of a header (RFC 9110, 5.6.6), without its quotes. */
function parameter(header: string, name: string): string | undefined {
  for (const [, key, quoted, bare] of header.matchAll(parameters)) {
    if (key?.toLowerCase() === name) return quoted?.replaceAll(/\\(.)/g, '$1') ?? bare;
  }
  return undefined;
}

const parameters = /;\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g;

const CARRIAGE_RETURN = 0x0d;
