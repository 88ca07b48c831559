import type { ByteRange, NamedValues, Scanner } from './body-scanner.ts';

/** The largest block, in bytes. */
const maxBlockBytes = 65_536;

export interface ReceivedBodyOptions {
  /** Reserves memory for a block; `false`: there is none. */
  readonly takeRoom: (bytes: number) => boolean;
  /** Scans the bytes as they come; `undefined`: no scan. */
  readonly scanner: Scanner | undefined;
  /**
   * The body's announced length. Blocks together are not larger, unless more bytes come. Default: Infinity.
   */
  readonly expectedBytes?: number;
}

/**
 * The bytes of a request's body, copied into blocks as they come. The memory is the size of the blocks,
 * however small the pieces were. A block is as large as all blocks before it together, or as the piece that
 * needs it, and at most 64 KiB. So all blocks ≤ 2 × the bytes that came while those are < 64 KiB, and later ≤
 * the bytes + 64 KiB.
 */
export class ReceivedBody {
  readonly #blocks: Buffer[] = [];
  readonly #scanner: Scanner | undefined;
  readonly #takeRoom: ReceivedBodyOptions['takeRoom'];
  #byteLength = 0;
  /** The free bytes of the last block. */
  #freeBytes = 0;
  readonly #expectedBytes: number;

  constructor({ expectedBytes = Infinity, scanner, takeRoom }: ReceivedBodyOptions) {
    this.#takeRoom = takeRoom;
    this.#scanner = scanner;
    this.#expectedBytes = expectedBytes;
  }

  /** A body that came in one piece. The piece is kept, not copied. */
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

  /**
   * Adds bytes that have come. `false`: there is no room for them, and the body must not be used any more.
   */
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
   * Where the values of `model` and `stream` stand, once the body is whole; `undefined` without a scanner.
   *
   * @throws {GatewayError} the errors of its scanner.
   */
  namedValues(): NamedValues | undefined {
    return this.#scanner?.end();
  }

  /** The bytes `[start, end)` of the body in pieces, without a copy. */
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
    // A slice of Node's pool would keep the whole pool in memory.
    this.#blocks.push(Buffer.allocUnsafeSlow(size));
    this.#freeBytes = size;
    return true;
  }
}
