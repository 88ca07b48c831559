import { GatewayError } from '@spillway/server/errors';
import type { ByteRange, NamedValues, Scanner } from './body-scanner.ts';

/** The longest head of a part, in bytes. Clients write some 200. */
const maxHeadBytes = 8192;
/** The most bytes after a delimiter in its line: it may be padded with spaces. */
const maxPaddingBytes = 64;

/**
 * Finds the part named `model` in multipart/form-data (RFC 7578) as the body's bytes come. It looks for
 * delimiters and reads the heads of parts. The content of the other parts is not read. Only bytes that may
 * still become a delimiter or a head are kept. Line ends may be bare, and the last delimiter may be missing,
 * as some parsers accept that.
 */
export class FormScanner implements Scanner {
  /** The delimiter, with the line end before it, which is no part of the content (RFC 2046, 5.1.1). */
  readonly #delimiter: Buffer;
  /**
   * The bytes that are not decided yet. The body's first delimiter has no line end before it, so one is put
   * there.
   */
  #rest: Buffer = Buffer.from('\n');
  /** The offset of `#rest` in the body. */
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
    // A copy: the caller may use `bytes` again.
    this.#rest = Buffer.from(this.#isDone ? '' : this.#rest);
  }

  end(): NamedValues {
    if (this.#modelStart !== undefined) this.#modelEnds(this.#offset + this.#rest.length);
    if (this.#problem !== undefined) throw new GatewayError('invalid_request', this.#problem);
    return { object: undefined, model: this.#model, stream: undefined };
  }

  get #isDone(): boolean {
    return this.#state === 'done';
  }

  /** Takes one step. Returns whether another step may be possible. */
  #takeStep(): boolean {
    if (this.#isDone) return false;
    return this.#state === 'head' ? this.#readHead() : this.#skipContent();
  }

  /** Reads the head of a part. Returns false if more bytes are needed. */
  #readHead(): boolean {
    const text = this.#rest.toString('latin1', 0, maxHeadBytes);
    // A part without headers begins with the blank line.
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

  /**
   * Skips content up to the next delimiter. Returns false if more bytes are needed to find it or to read its
   * line.
   */
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
      // More bytes may make this the last delimiter or a line.
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

/** The boundary of a form, read from its content type; `undefined`: the body is no form. */
export function boundaryOf(contentType: string): string | undefined {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) return undefined;
  return parameter(contentType, 'boundary');
}

/**
 * The name of the part with this head. A folded header goes on in the next line, which begins with a space.
 */
function nameIn(head: string): string | undefined {
  const lines = head.replaceAll(/\r?\n[ \t]+/g, ' ').split(/\r?\n/);
  const line = lines.find((text) => /^content-disposition\s*:/i.test(text));
  return line && parameter(line, 'name');
}

/** The value of a header's parameter (RFC 9110, 5.6.6), without its quotes. */
function parameter(header: string, name: string): string | undefined {
  for (const [, key, quoted, bare] of header.matchAll(parameters)) {
    if (key?.toLowerCase() === name) return quoted?.replaceAll(/\\(.)/g, '$1') ?? bare;
  }
  return undefined;
}

const parameters = /;\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g;

const CARRIAGE_RETURN = 0x0d;
