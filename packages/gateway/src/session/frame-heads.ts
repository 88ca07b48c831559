/** A head is 2 bytes, at most 8 more of a length, and 4 of a mask. */
const maxHeadBytes = 14;

/**
 * Follows the heads of the frames that a WebSocket's client sends (RFC 6455, 5.2), to know how many messages have come
 * whole, and whether a part of one has come. The parser behind it keeps a part as long as its rest does not come, and
 * tells nobody. What breaks the rules is the parser's to find: what is counted behind that means nothing.
 */
export class FrameHeads {
  /** The messages that have come whole. */
  messages = 0;
  /** The control frames (pings, pongs, closes) that have come whole: they may stand inside of a message. */
  controls = 0;
  readonly #head = new Uint8Array(maxHeadBytes);
  readonly #view = new DataView(this.#head.buffer);
  #headBytes = 0;
  #payloadLeft = 0;
  #isFragmented = false;

  /** Whether a part of a message has come. */
  get isInMessage(): boolean {
    return this.#isFragmented || (this.#isInFrame && !this.#isControl);
  }

  /** Whether a part of a control frame has come. */
  get isInControl(): boolean {
    return this.#isInFrame && this.#isControl;
  }

  take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#payloadLeft > 0) {
        const taken = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= taken;
        at += taken;
      } else {
        this.#head[this.#headBytes++] = chunk[at++] ?? 0;
        if (!this.#isHeadWhole) continue;
        this.#payloadLeft = this.#payloadBytes;
      }
      if (this.#payloadLeft === 0) this.#ended();
    }
  }

  get #isInFrame(): boolean {
    return this.#headBytes > 0;
  }

  get #isControl(): boolean {
    return ((this.#head[0] ?? 0) & 0x08) !== 0;
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
    const isFinal = ((this.#head[0] ?? 0) & 0x80) !== 0;
    if (this.#isControl) this.controls += 1;
    else if (isFinal) this.messages += 1;
    if (!this.#isControl) this.#isFragmented = !isFinal;
  }
}
