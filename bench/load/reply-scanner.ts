import { tokenAgeUs, tokenBytes, tokenNumber } from './token.ts';

const [cr, lf, quote] = [0x0d, 0x0a, 0x22];
const doneMarker = 'data: [DONE]';
/** More characters than any marker has. */
const restLength = 16;
/** Between two processes' readings of the clock. */
const clockErrorUs = 100;

/** What a scanner tells of. */
export interface ScannerEvents {
  /** A token came, so many microseconds after it had been written. */
  onToken?(ageUs: number): void;
  /** The reply is complete: every token, the end marker, and an orderly end of the body. */
  onDone(): void;
}

/**
 * Reads a streamed reply in HTTP/1.1 and checks it: the tokens have to come all, once and in order, wherever they were
 * cut, merged or serialised anew. It looks for texts of tokens and parses nothing, so that it costs less than whatever
 * is in front of it.
 */
export class ReplyScanner {
  /** Tokens so far. */
  tokens = 0;
  /** Bytes of the body so far, without the framing of its chunks. */
  bodyBytes = 0;
  readonly #marker: string;
  readonly #expected: number;
  readonly #events: ScannerEvents;
  #state: 'chunk' | 'chunk end' | 'done' | 'head' | 'size' | 'size end' | 'trailer' = 'head';
  #head = '';
  /** Of the chunk, what is to come. */
  #left = 0;
  /** The end of what was scanned, if a token may have begun in it. */
  #rest = '';
  #hasMarker = false;

  /**
   * @param key what is in front of the text in an event: `"content":"` in a chat completion.
   * @param expected how many tokens make the reply complete.
   */
  constructor(key: string, expected: number, events: ScannerEvents) {
    this.#marker = key;
    this.#expected = expected;
    this.#events = events;
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** @throws when the reply is not what was asked for. */
  push(bytes: Buffer, timeUs: number): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes);
          break;
        case 'size': {
          const byte = bytes[at] ?? 0;
          at += 1;
          if (byte === lf) this.#state = this.#left === 0 ? 'trailer' : 'chunk';
          else if (byte !== cr) this.#left = this.#left * 16 + hexDigit(byte);
          break;
        }
        case 'chunk': {
          const end = Math.min(bytes.length, at + this.#left);
          this.bodyBytes += end - at;
          this.#left -= end - at;
          this.#scan(bytes.toString('latin1', at, end), timeUs);
          at = end;
          if (this.#left === 0) this.#state = 'chunk end';
          break;
        }
        case 'chunk end':
          if (bytes[at] === lf) this.#state = 'size';
          at += 1;
          break;
        case 'trailer':
          if (bytes[at] === lf) this.#finish();
          at += 1;
          break;
        default:
          throw new Error(`${bytes.length - at} bytes came behind the end of the reply`);
      }
    }
  }

  #readHead(bytes: Buffer): number {
    const before = this.#head.length;
    this.#head += bytes.toString('latin1');
    const end = this.#head.indexOf('\r\n\r\n');
    if (end === -1) return bytes.length;
    const head = this.#head.slice(0, end);
    if (!head.startsWith('HTTP/1.1 200 ') || !/\r\ntransfer-encoding: *chunked/i.test(head)) {
      throw new Error(`expected 200 and chunks, got ${this.#head}`);
    }
    this.#head = '';
    this.#state = 'size';
    return end + 4 - before;
  }

  /** Strings, as looking for text in a buffer costs several times as much. */
  #scan(piece: string, timeUs: number): void {
    const text = this.#rest + piece;
    this.#rest = '';
    let at = 0;
    for (;;) {
      const found = text.indexOf(this.#marker, at);
      if (found === -1) break;
      at = found + this.#marker.length;
      while (at + tokenBytes < text.length && text.charCodeAt(at) !== quote) {
        this.#take(text, at, timeUs);
        at += tokenBytes;
      }
      if (text.charCodeAt(at) !== quote) {
        // The text goes on in the next piece, which then begins with the key once more.
        this.#rest = this.#marker + text.slice(at);
        return;
      }
    }
    if (this.tokens === this.#expected) this.#hasMarker ||= text.includes(doneMarker);
    // Behind the end of an event nothing has begun.
    if (!text.endsWith('\n\n')) this.#rest = text.slice(Math.max(at, text.length - restLength));
  }

  #take(text: string, at: number, timeUs: number): void {
    const number = tokenNumber(text, at);
    if (number !== this.tokens) {
      throw new Error(`expected token ${this.tokens}, got "${text.slice(at, at + tokenBytes)}"`);
    }
    const ageUs = tokenAgeUs(text, at, timeUs);
    if (!(ageUs >= -clockErrorUs))
      throw new Error(`token ${number} came ${ageUs} µs after it had been written`);
    this.tokens += 1;
    this.#events.onToken?.(ageUs);
  }

  #finish(): void {
    this.#state = 'done';
    if (this.tokens !== this.#expected || !this.#hasMarker) {
      throw new Error(`the reply ended after ${this.tokens} tokens of ${this.#expected}`);
    }
    this.#events.onDone();
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x66) return letter - 0x57;
  throw new Error(`expected the size of a chunk, got byte ${byte}`);
}
