import type { ByteRange, NamedValues, Scanner } from './body-scanner.ts';

/** The largest block, in bytes. */
const maxBlockBytes = 65_536;

export interface ReceivedBodyOptions {
  /** Takes the room for a block; `false`: there is none. */
  readonly takeRoom: (bytes: number) => boolean;
  /** Looks at the bytes as they come; `undefined`: nobody does. */
  readonly scanner: Scanner | undefined;
  /** No block is made for more than this in all, as long as no more comes. Default: Infinity. */
  readonly expectedBytes?: number;
}

/**
 * The bytes of a request's body, copied as they come into blocks of its own: what it costs is their size, however small
 * the pieces were in which it came. A block is as large as all before it, or as the piece for which it is made, and
 * blocks are at most twice the bytes that came, while those are less than 64 KiB; later at most 64 KiB more.
 */
export class ReceivedBody {
  readonly #blocks: Buffer[] = [];
  readonly #scanner: Scanner | undefined;
  readonly #takeRoom: ReceivedBodyOptions['takeRoom'];
  #byteLength = 0;
  /** What of the last block is free. */
  #freeBytes = 0;
  readonly #expectedBytes: number;

  constructor({ expectedBytes = Infinity, scanner, takeRoom }: ReceivedBodyOptions) {
    this.#takeRoom = takeRoom;
    this.#scanner = scanner;
    this.#expectedBytes = expectedBytes;
  }

  /** A body that came in one piece, which it keeps. */
  static whole(bytes: Buffer, scanner: Scanner | undefined): ReceivedBody {
    const body = new ReceivedBody({ takeRoom: () => true, scanner });
    body.#blocks.push(bytes);
    body.#byteLength = bytes.length;
    scanner?.push(bytes);
    return body;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  /** Adds what has come. `false`: there is no room for it, and the body is of no use any more. */
  add(bytes: Buffer): boolean {
    this.#scanner?.push(bytes);
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
   * Where its model and its stream stand, once all has come; `undefined` if nobody has looked.
   *
   * @throws {GatewayError} what its scanner throws.
   */
  namedValues(): NamedValues | undefined {
    return this.#scanner?.end();
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
    const leftBytes = Math.max(bytes, this.#expectedBytes - this.#byteLength);
    const size = Math.min(maxBlockBytes, leftBytes, Math.max(bytes, this.#byteLength));
    if (!this.#takeRoom(size)) return false;
    // Of its own: a piece of Node's pool would keep all of that.
    this.#blocks.push(Buffer.allocUnsafeSlow(size));
    this.#freeBytes = size;
    return true;
  }
}
