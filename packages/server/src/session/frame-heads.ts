/** The most bytes of a frame's head: 2, then up to 8 of a length, and 4 of a mask. */
const maxHeadBytes = 14;
const closeOpcode = 0x08;

/**
 * Follows the heads of the frames that a WebSocket's client sends (RFC 6455, 5.2). The parser after it keeps parts of
 * messages, handles all that it is given at once, and reports neither. This class finds where frames end; the parser
 * finds broken rules.
 */
export class FrameHeads {
  readonly #head = new Uint8Array(maxHeadBytes);
  readonly #view = new DataView(this.#head.buffer);
  #headBytes = 0;
  #isInPayload = false;
  #payloadLeft = 0;
  #isFragmented = false;
  /** Whether a close frame has come: bytes after it do not count. */
  isConcluded = false;

  /** Whether a part of a message or of a frame has come, and its rest has not. */
  get isInside(): boolean {
    return this.#isFragmented || this.#headBytes > 0;
  }

  /**
   * Takes bytes up to the end of the first frame that ends in them, or all of them. Returns the number of bytes
   * taken.
   */
  takeFrame(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && !this.#isHeadWhole) this.#head[this.#headBytes++] = bytes[at++] ?? 0;
    if (!this.#isHeadWhole) return at;
    if (!this.#isInPayload) this.#payloadLeft = this.#payloadBytes;
    this.#isInPayload = true;
    const taken = Math.min(this.#payloadLeft, bytes.length - at);
    this.#payloadLeft -= taken;
    if (this.#payloadLeft === 0) this.#ended();
    return at + taken;
  }

  get #shortLength(): number {
    return (this.#head[1] ?? 0) & 0x7f;
  }

  get #isHeadWhole(): boolean {
    if (this.#headBytes < 2) return false;
    const lengthBytes = this.#shortLength === 126 ? 2 : this.#shortLength === 127 ? 8 : 0;
    const maskBytes = ((this.#head[1] ?? 0) & 0x80) === 0 ? 0 : 4;
    return this.#headBytes === 2 + lengthBytes + maskBytes;
  }

  get #payloadBytes(): number {
    if (this.#shortLength === 126) return this.#view.getUint16(2);
    return this.#shortLength === 127 ? Number(this.#view.getBigUint64(2)) : this.#shortLength;
  }

  #ended(): void {
    this.#headBytes = 0;
    this.#isInPayload = false;
    const [first = 0] = this.#head;
    const opcode = first & 0x0f;
    if (opcode < closeOpcode) this.#isFragmented = (first & 0x80) === 0;
    else if (opcode === closeOpcode) this.isConcluded = true;
  }
}
