import type { IncomingHttpHeaders } from 'node:http';

/** Who is told what a {@link ResponseReader} finds. */
export interface ResponseHandler {
  /** The head of the one final response; nothing of its body was looked at yet. */
  onHead(head: ResponseHead): void;
  /** Bytes of the body: `bytes[start, end)`, only until this returns. */
  onBody(bytes: Buffer, start: number, end: number): void;
  /** The response was whole. */
  onEnd(): void;
}

/** What stands before a response's body. */
export interface ResponseHead {
  readonly status: number;
  /** The words behind the status; may be empty. */
  readonly reason: string;
  /** In lower case; what came more than once with commas between. */
  readonly headers: IncomingHttpHeaders;
  /** Whether another request may follow on the connection. */
  readonly isPersistent: boolean;
  /** Whether its body says where it ends, by its length or its last chunk: a closed connection says nothing. */
  readonly isDelimited: boolean;
}

/** What came is not HTTP, or is ambiguous in it. */
export class ResponseError extends Error {
  readonly code = 'INVALID_RESPONSE';
}

/** The connection was closed in the middle of a response, or before it. */
export class ResponseCutError extends Error {
  readonly code = 'CONNECTION_CLOSED';
}

/**
 * The bytes of responses in HTTP/1.1 (RFC 9112), one after the other on a connection. Of a body it looks at
 * nothing but the lines around chunks, and moves what is between them together, in the buffer that it was
 * read into: one read is one piece of body, however many chunks it has.
 *
 * Strict: whatever another reader of the same bytes could understand in another way is an error.
 */
export class ResponseReader {
  readonly #maxHeaderBytes: number;
  #state: 'body' | 'chunk' | 'chunk end' | 'head' | 'idle' | 'size' | 'trailers' | 'until close' = 'idle';
  /** What came of a head, or of the trailers. */
  #head = '';
  /** The bytes of the body, or of its chunk, that are still to come. */
  #left = 0;
  #sizeDigits = 0;
  /** The bytes of a size line behind its size. */
  #extensionBytes = 0;
  #isAfterCr = false;

  /** `maxHeaderBytes` bounds a head, the trailers and what follows a chunk's size, each. */
  constructor(maxHeaderBytes: number) {
    this.#maxHeaderBytes = maxHeaderBytes;
  }

  /** Whether no response is awaited: whatever comes now belongs to none. */
  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** A request was sent, and its response is awaited. */
  expect(): void {
    this.#state = 'head';
  }

  /**
   * Reads `bytes[start, end)`, and changes them. Returns where it stopped: behind a head, whose body somebody has to
   * ask for; behind a response, where nothing should be; or at the end.
   *
   * @throws {ResponseError}
   */
  read(bytes: Buffer, start: number, end: number, handler: ResponseHandler): number {
    if (this.#state === 'head') return this.#readHead(bytes, start, end, handler);
    let at = start;
    // What was found of the body stands together in bytes[bodyStart, bodyEnd).
    let bodyStart = start;
    let bodyEnd = start;
    while (at < end && this.#state !== 'idle') {
      switch (this.#state) {
        case 'size':
          at = this.#readSize(bytes, at, end);
          break;
        case 'chunk end':
          if (bytes[at] !== (this.#isAfterCr ? LF : CR)) throw invalid('the end of a chunk');
          if (this.#isAfterCr) this.#startSize();
          else this.#isAfterCr = true;
          at += 1;
          break;
        case 'trailers':
          at = this.#readTrailers(bytes, at, end);
          break;
        default: {
          const length = Math.min(this.#left, end - at);
          if (bodyEnd === bodyStart) bodyStart = bodyEnd = at;
          else if (bodyEnd < at) bytes.copyWithin(bodyEnd, at, at + length);
          bodyEnd += length;
          at += length;
          this.#left -= length;
          if (this.#left > 0) break;
          this.#isAfterCr = false;
          this.#state = this.#state === 'chunk' ? 'chunk end' : 'idle';
        }
      }
    }
    if (bodyEnd > bodyStart) handler.onBody(bytes, bodyStart, bodyEnd);
    if (this.#state === 'idle') handler.onEnd();
    return at;
  }

  /**
   * The connection was closed.
   *
   * @throws {ResponseCutError} when something was still to come.
   */
  close(handler: ResponseHandler): void {
    if (this.#state === 'until close') {
      this.#state = 'idle';
      handler.onEnd();
    } else if (this.#state !== 'idle') {
      throw new ResponseCutError('The connection was closed before the response was whole.');
    }
  }

  #readHead(bytes: Buffer, start: number, end: number, handler: ResponseHandler): number {
    const before = this.#head.length;
    this.#head += bytes.toString('latin1', start, Math.min(end, start + this.#maxHeaderBytes + 1 - before));
    const headEnd = this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (headEnd === -1 && this.#head.length > this.#maxHeaderBytes) {
      throw new ResponseError(`The head has more than ${this.#maxHeaderBytes} bytes (maxHeaderBytes).`);
    }
    if (headEnd === -1) return end;
    const { length, ...head } = parseHead(this.#head.slice(0, headEnd));
    const at = start + headEnd + 4 - before;
    this.#head = '';
    // Not the response yet: it follows.
    if (head.status < 200) return at < end ? this.#readHead(bytes, at, end, handler) : end;
    if (length === 'chunked') {
      this.#startSize();
    } else {
      this.#state = length === Infinity ? 'until close' : length === 0 ? 'idle' : 'body';
      this.#left = length;
    }
    const isOver = this.#state === 'idle';
    handler.onHead(head);
    if (isOver) handler.onEnd();
    return at;
  }

  #startSize(): void {
    this.#state = 'size';
    this.#left = 0;
    this.#sizeDigits = 0;
    this.#extensionBytes = 0;
    this.#isAfterCr = false;
  }

  /** The line before a chunk: its size, and extensions that nobody needs. */
  #readSize(bytes: Buffer, start: number, end: number): number {
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] ?? 0;
      if (this.#isAfterCr) {
        if (byte !== LF) throw invalid('the size of a chunk');
        this.#state = this.#left === 0 ? 'trailers' : 'chunk';
        return at + 1;
      }
      const digit = this.#extensionBytes === 0 ? hexDigit(byte) : -1;
      if (digit >= 0) {
        this.#left = this.#left * 16 + digit;
        this.#sizeDigits += 1;
        if (this.#sizeDigits > maxSizeDigits) throw invalid('the size of a chunk');
      } else if (this.#sizeDigits === 0) {
        throw invalid('the size of a chunk');
      } else if (byte === CR) {
        this.#isAfterCr = true;
      } else {
        if ((this.#extensionBytes === 0 && byte !== SEMICOLON) || isControl(byte))
          throw invalid('the size of a chunk');
        this.#extensionBytes += 1;
        if (this.#extensionBytes > this.#maxHeaderBytes) throw invalid('the extensions of a chunk');
      }
    }
    return end;
  }

  /** What follows the last chunk, which nobody needs, to its empty line. */
  #readTrailers(bytes: Buffer, start: number, end: number): number {
    const before = this.#head.length;
    this.#head += bytes.toString('latin1', start, Math.min(end, start + this.#maxHeaderBytes + 1 - before));
    const isEmpty = this.#head.startsWith('\r\n');
    const trailersEnd = isEmpty ? 0 : this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (trailersEnd === -1) {
      if (this.#head.length > this.#maxHeaderBytes) throw invalid('the trailers');
      return end;
    }
    const trailers = parseFields(
      this.#head
        .slice(0, trailersEnd)
        .split('\r\n')
        .slice(isEmpty ? 1 : 0),
    );
    // What says where a body ends, behind its end: somebody in between may have read another one. RFC 9110, 6.5.1.
    for (const name of ['content-length', 'transfer-encoding']) {
      if (trailers[name] !== undefined) throw invalid(`${name} in the trailers`);
    }
    this.#head = '';
    this.#state = 'idle';
    return start + trailersEnd + (isEmpty ? 2 : 4) - before;
  }
}

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SEMICOLON = 0x3b;
/** 4 PiB: below where numbers are not exact any more. */
const maxSizeDigits = 13;

/** Its value; -1: it is none. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== TAB) || byte === 0x7f;
}

/** More than any provider sends, and few enough to be read at once. */
const maxFields = 1000;

const statusLine = /^HTTP\/1\.(?<minor>[01]) (?<status>[1-9]\d\d)(?: (?<reason>[\t\x20-\x7e\x80-\xff]*))?$/;
const field = /^(?<name>[!#$%&'*+\-.^_`|~\dA-Za-z]+):[\t ]*(?<value>[\t\x20-\x7e\x80-\xff]*)$/;

function parseHead(text: string): ResponseHead & { readonly length: number | 'chunked' } {
  const [first = '', ...lines] = text.split('\r\n');
  const { minor, reason = '', status: digits } = statusLine.exec(first)?.groups ?? {};
  if (digits === undefined) throw invalid('the status line');
  const status = Number(digits);
  // Nobody asked for another protocol.
  if (status === 101) throw invalid('status 101');
  const headers = parseFields(lines);
  const options = (headers.connection ?? '').toLowerCase().split(/[\t ,]+/);
  const length = bodyLength(status, minor === '1', headers);
  const isPersistent =
    length !== Infinity && !options.includes('close') && (minor === '1' || options.includes('keep-alive'));
  return { status, reason, headers, isPersistent, isDelimited: length !== Infinity, length };
}

/**
 * What a head says of its body: its length in bytes, chunks, or `Infinity`: until the connection closes. RFC 9112, 6.3.
 *
 * @throws {ResponseError} where two readers could understand it in two ways.
 */
export function bodyLength(
  status: number,
  isVersion11: boolean,
  headers: IncomingHttpHeaders,
): number | 'chunked' {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw invalid('content-length');
  // These have no body, and must not say that they have one: whoever does not know that would wait for it. RFC 9110, 8.6.
  if (status < 200 || status === 204) {
    if (encoding !== undefined || (length !== undefined && Number(length) > 0))
      throw invalid(`a body of status ${status}`);
    return 0;
  }
  const isChunked = encoding !== undefined && readTransferEncoding(encoding);
  if (encoding !== undefined && (!isVersion11 || length !== undefined)) throw invalid('transfer-encoding');
  // It says what the body would be, and has none.
  if (status === 304) return 0;
  if (isChunked) return 'chunked';
  return length === undefined ? Infinity : Number(length);
}

/**
 * Whether a body has chunks. `chunked` that is said twice is one framing: nobody sends chunks in chunks, which RFC 9112
 * forbids (6.1). `identity` in front of it is nothing, and alone it says what no header at all would; behind it, some would
 * read the chunks as the body.
 */
function readTransferEncoding(encoding: string): boolean {
  if (!/^(?:identity(?: *, *|$))*(?:chunked(?: *, *|$))*$/i.test(encoding) || !/[a-z]$/i.test(encoding)) {
    throw invalid('transfer-encoding');
  }
  return /chunked$/i.test(encoding);
}

function parseFields(lines: readonly string[]): IncomingHttpHeaders {
  if (lines.length > maxFields) throw invalid(`more than ${maxFields} headers`);
  const headers = Object.create(null) as Record<string, string>;
  for (const line of lines) {
    const { name, value } = field.exec(line)?.groups ?? {};
    if (name === undefined || value === undefined) throw invalid('a header');
    const key = name.toLowerCase();
    // Some take a tab around it for a part of it.
    if ((key === 'transfer-encoding' || key === 'content-length') && line.includes('\t')) throw invalid(key);
    const before = headers[key];
    const trimmed = withoutEnd(value);
    headers[key] = before === undefined ? trimmed : `${before}, ${trimmed}`;
  }
  return headers;
}

/** Without the spaces and tabs at its end. A pattern would take the square of a run of spaces anywhere in it. */
function withoutEnd(value: string): string {
  let end = value.length;
  while (value[end - 1] === ' ' || value[end - 1] === '\t') end -= 1;
  return value.slice(0, end);
}

function invalid(what: string): ResponseError {
  return new ResponseError(`The response is not valid HTTP/1.1: ${what}.`);
}
