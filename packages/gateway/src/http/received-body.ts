import { BodyScanner, type ByteRange, type NamedValues } from './body-scanner.ts';

/** The largest block, in bytes. */
const maxBlockBytes = 65_536;

/**
 * The bytes of a request's body, copied as they come into blocks of its own: what it costs is their size, however small
 * the pieces were in which it came. A block is as large as all before it, or as the piece for which it is made, and
 * blocks are at most twice the bytes that came, while those are less than 64 KiB; later at most 64 KiB more.
 */
export class ReceivedBody {
  readonly #blocks: Buffer[] = [];
  readonly #scanner = new BodyScanner();
  /** Takes the room for a block; `false`: there is none. */
  readonly #takeRoom: (bytes: number) => boolean;
  #byteLength = 0;
  /** What of the last block is free. */
  #freeBytes = 0;

  constructor(takeRoom: (bytes: number) => boolean) {
    this.#takeRoom = takeRoom;
  }

  /** A body that came in one piece, which it keeps. */
  static whole(bytes: Buffer): ReceivedBody {
    const body = new ReceivedBody(() => true);
    body.#blocks.push(bytes);
    body.#byteLength = bytes.length;
    body.#scanner.push(bytes);
    return body;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  /** Adds what has come. `false`: there is no room for it, and the body is of no use any more. */
  add(bytes: Buffer): boolean {
    this.#scanner.push(bytes);
    for (let at = 0; at < bytes.length;) {
      if (this.#freeBytes === 0 && !this.#addBlock(bytes.length - at)) return false;
      const block = this.#blocks.at(-1);
      if (block === undefined) return false;
      const copied = bytes.copy(block, block.length - this.#freeBytes, at);
      this.#freeBytes -= copied;
      this.#byteLength += copied;
      at += copied;
    }
    return true;
  }

  /**
   * Where its model and its stream stand, once all has come.
   *
   * @throws {GatewayError} `invalid_request` if it is no JSON object.
   */
  namedValues(): NamedValues {
    return this.#scanner.end();
  }

  /** `[start, end)` of it, without a copy. */
  parts({ start, end }: ByteRange = { start: 0, end: this.#byteLength }): Buffer[] {
    const parts: Buffer[] = [];
    let blockStart = 0;
    for (const block of this.#blocks) {
      const part = block.subarray(Math.max(0, start - blockStart), Math.max(0, end - blockStart));
      if (part.length > 0) parts.push(part);
      blockStart += block.length;
    }
    return parts;
  }

  #addBlock(bytes: number): boolean {
    const size = Math.min(maxBlockBytes, Math.max(bytes, this.#byteLength));
    if (!this.#takeRoom(size)) return false;
    // Of its own: a piece of Node's pool would keep all of that.
    this.#blocks.push(Buffer.allocUnsafeSlow(size));
    this.#freeBytes = size;
    return true;
  }
}
