import type { IncomingHttpHeaders } from 'node:http';

/** Receives the response that a {@link ResponseReader} reads. */
export interface ResponseHandler {
  /** The head of the final response. `onBody` has not been called yet. */
  onHead(head: ResponseHead): void;
  /** Bytes of the body: `bytes[start, end)`, valid only until this returns. */
  onBody(bytes: Buffer, start: number, end: number): void;
  /** The response was whole. */
  onEnd(): void;
}

/** The head of a response: its status line and headers. */
export interface ResponseHead {
  readonly status: number;
  /** The reason phrase of the status line; may be empty. */
  readonly reason: string;
  /**
   * The headers by their names in lower case. The values of a header that came several times are joined by
   * commas.
   */
  readonly headers: IncomingHttpHeaders;
  /** Whether the connection can take another request afterwards. */
  readonly isPersistent: boolean;
  /**
   * Whether the body says where it ends, by its length or its last chunk. If not, it ends with the
   * connection, and a cut cannot be noticed.
   */
  readonly isDelimited: boolean;
}

/** The response is not valid HTTP, or two readers could understand it in two ways. */
export class ResponseError extends Error {
  readonly code = 'INVALID_RESPONSE';
}

/** The connection was closed before the response was whole. */
export class ResponseCutError extends Error {
  readonly code = 'CONNECTION_CLOSED';
}

/**
 * Reads responses in HTTP/1.1 (RFC 9112), one after the other on a connection. In a body with chunks only the
 * lines around the chunks are parsed. The chunks of one read are moved together in its buffer: one read gives
 * at most one `onBody`, however many chunks it has.
 *
 * Strict: bytes that another reader could understand in another way are an error.
 */
export class ResponseReader {
  readonly #maxHeaderBytes: number;
  #state: 'body' | 'chunk' | 'chunk end' | 'head' | 'idle' | 'size' | 'trailers' | 'until close' = 'idle';
  /** The bytes so far of a head or of trailers. */
  #head = '';
  /** The bytes still to come of the body, or of the current chunk. */
  #left = 0;
  #sizeDigits = 0;
  /** The bytes after the size in the line before a chunk. */
  #extensionBytes = 0;
  #isAfterCr = false;

  /** `maxHeaderBytes` bounds a head, the trailers, and the extensions after a chunk's size, each. */
  constructor(maxHeaderBytes: number) {
    this.#maxHeaderBytes = maxHeaderBytes;
  }

  /** Whether no response is expected: bytes that come now belong to none. */
  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** To be called when a request is sent: the next bytes are its response. */
  expect(): void {
    this.#state = 'head';
  }

  /**
   * Reads `bytes[start, end)`, and changes them in place. Returns the offset where it stopped: after a head
   * (the body has to be read by another call), after a whole response, or at `end`.
   *
   * @throws {ResponseError}
   */
  read(bytes: Buffer, start: number, end: number, handler: ResponseHandler): number {
    if (this.#state === 'head') return this.#readHead(bytes, start, end, handler);
    let at = start;
    // The bytes of the body are moved together into bytes[bodyStart, bodyEnd).
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
   * To be called when the connection was closed.
   *
   * @throws {ResponseCutError} when a response was not whole.
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
    // A status below 200 is interim: the final response follows.
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

  /** Reads the line before a chunk: its size, and extensions, which are ignored. */
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

  /** Reads the trailers after the last chunk up to their empty line, and drops them. */
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
    // A trailer that says where the body ends is refused: a server in between may have found another end. RFC
    // 9110, 6.5.1.
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
/** The most hexadecimal digits of a chunk's size: 4 PiB, below the largest exact number. */
const maxSizeDigits = 13;

/** The value of a hexadecimal digit; -1 if the byte is none. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== TAB) || byte === 0x7f;
}

/** The most headers of a response: more than any provider sends, and few enough to parse at once. */
const maxFields = 1000;

const statusLine = /^HTTP\/1\.(?<minor>[01]) (?<status>[1-9]\d\d)(?: (?<reason>[\t\x20-\x7e\x80-\xff]*))?$/;
const field = /^(?<name>[!#$%&'*+\-.^_`|~\dA-Za-z]+):[\t ]*(?<value>[\t\x20-\x7e\x80-\xff]*)$/;

function parseHead(text: string): ResponseHead & { readonly length: number | 'chunked' } {
  const [first = '', ...lines] = text.split('\r\n');
  const { minor, reason = '', status: digits } = statusLine.exec(first)?.groups ?? {};
  if (digits === undefined) throw invalid('the status line');
  const status = Number(digits);
  // Status 101 answers only a request to change the protocol, which was not sent.
  if (status === 101) throw invalid('status 101');
  const headers = parseFields(lines);
  const options = (headers.connection ?? '').toLowerCase().split(/[\t ,]+/);
  const length = bodyLength(status, minor === '1', headers);
  const isPersistent =
    length !== Infinity && !options.includes('close') && (minor === '1' || options.includes('keep-alive'));
  return { status, reason, headers, isPersistent, isDelimited: length !== Infinity, length };
}

/**
 * The length of a response's body in bytes; 'chunked'; or `Infinity`, if it ends when the connection closes.
 * RFC 9112, 6.3.
 *
 * @throws {ResponseError} where two readers could understand the head in two ways.
 */
export function bodyLength(
  status: number,
  isVersion11: boolean,
  headers: IncomingHttpHeaders,
): number | 'chunked' {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw invalid('content-length');
  // Responses with these statuses have no body, and must not announce one: a reader that does not know the
  // rule would wait for it. RFC 9110, 8.6.
  if (status < 200 || status === 204) {
    if (encoding !== undefined || (length !== undefined && Number(length) > 0))
      throw invalid(`a body of status ${status}`);
    return 0;
  }
  const isChunked = encoding !== undefined && readTransferEncoding(encoding);
  if (encoding !== undefined && (!isVersion11 || length !== undefined)) throw invalid('transfer-encoding');
  // A 304 has no body: its headers describe the body that a 200 would have.
  if (status === 304) return 0;
  if (isChunked) return 'chunked';
  return length === undefined ? Infinity : Number(length);
}

/**
 * Whether a body has chunks. A repeated `chunked` counts as one: chunks inside of chunks are forbidden (RFC
 * 9112, 6.1), and no server sends them. `identity` before it, or alone, means nothing. After it, `identity`
 * is refused: some readers would take the chunks for the body.
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
    // Some readers take a tab around the value for a part of it.
    if ((key === 'transfer-encoding' || key === 'content-length') && line.includes('\t')) throw invalid(key);
    const before = headers[key];
    const trimmed = withoutEnd(value);
    headers[key] = before === undefined ? trimmed : `${before}, ${trimmed}`;
  }
  return headers;
}

/**
 * Cuts the spaces and tabs at the end. A regular expression would take quadratic time for a long run of
 * spaces inside of the value.
 */
function withoutEnd(value: string): string {
  let end = value.length;
  while (value[end - 1] === ' ' || value[end - 1] === '\t') end -= 1;
  return value.slice(0, end);
}

function invalid(what: string): ResponseError {
  return new ResponseError(`The response is not valid HTTP/1.1: ${what}.`);
}
