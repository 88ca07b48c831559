import type { Socket } from 'node:net';
import { holdable } from '../memory/run-memory.ts';

/** The most bytes of a chunk's size line: its hexadecimal size, and CRLF. */
const maxSizeLineBytes = 10;
/**
 * Writes up to this size are gathered in one buffer. A socket that does not take such a write at once keeps the whole
 * buffer.
 */
const maxGatheredBytes = 8192;

const CR = 0x0d;
const LF = 0x0a;
const lineEnd = Buffer.from('\r\n');

const gatheredBytes = maxSizeLineBytes + maxGatheredBytes + lineEnd.length;

/**
 * One buffer for all sockets: the kernel copies a write at once. If a socket keeps bytes of this buffer, the next
 * write gets a new one.
 */
let gathered = Buffer.allocUnsafeSlow(gatheredBytes);

/**
 * The body of a response in HTTP/1.1's chunks, written straight to its socket. Node's own response makes four buffers
 * and a vectored write of each piece. This class makes one write of everything that came in one turn.
 */
export class ChunkedBody {
  readonly #socket: Socket;
  readonly #highWaterMark: number;
  /**
   * The added parts: the first `#count` items. A single slot is reused, because an emptied array would allocate anew
   * for every token.
   */
  #parts: (Uint8Array | undefined)[] = [undefined];
  #count = 0;
  #partsBytes = 0;
  /** The bytes written so far, with the lines around chunks. */
  writtenBytes = 0;

  /** The response's head must be written already, and no other code may write to the socket. */
  constructor(socket: Socket) {
    this.#socket = socket;
    this.#highWaterMark = socket.writableHighWaterMark;
  }

  /** Whether so many bytes wait in the socket that further chunks should wait in the channel. */
  get isBlocked(): boolean {
    return this.#socket.writableLength >= this.#highWaterMark;
  }

  /**
   * Adds bytes to the next {@link flush}. Returns whether to add more before it: a reader that has stalled takes
   * nothing, so little should be kept here.
   */
  add(bytes: Uint8Array): boolean {
    this.#parts[this.#count] = bytes;
    this.#count += 1;
    this.#partsBytes += bytes.length;
    return this.#partsBytes < this.#highWaterMark;
  }

  /** Writes the added bytes as one chunk. */
  flush(): void {
    const length = this.#partsBytes;
    // A chunk without bytes would end the body.
    if (length === 0) return;
    const sizeLine = length.toString(16);
    this.writtenBytes += sizeLine.length + length + 2 * lineEnd.length;
    if (length <= maxGatheredBytes) this.#writeGathered(sizeLine);
    else this.#writeParts(sizeLine);
    if (this.#count === 1) this.#parts[0] = undefined;
    else this.#parts = [undefined];
    this.#count = 0;
    this.#partsBytes = 0;
  }

  #writeGathered(sizeLine: string): void {
    const socket = this.#socket;
    // A socket with waiting bytes will keep this write, too, so it gets a buffer of the right size.
    const isKept = socket.writableLength > 0;
    const target = isKept ? Buffer.allocUnsafeSlow(sizeLine.length + this.#partsBytes + 4) : gathered;
    let at = 0;
    for (; at < sizeLine.length; at += 1) target[at] = sizeLine.charCodeAt(at);
    target[at] = CR;
    target[at + 1] = LF;
    at += 2;
    for (const part of this.#parts) {
      if (part === undefined) continue;
      target.set(part, at);
      at += part.length;
    }
    target[at] = CR;
    target[at + 1] = LF;
    socket.write(target.subarray(0, at + 2));
    if (!isKept && socket.writableLength > 0) gathered = Buffer.allocUnsafeSlow(gatheredBytes);
  }

  /** Writes the parts one by one. A large part that waits in the socket shares the channel's memory. */
  #writeParts(sizeLine: string): void {
    const socket = this.#socket;
    socket.cork();
    socket.write(`${sizeLine}\r\n`, 'latin1');
    for (const part of this.#parts) if (part !== undefined) socket.write(holdable(part));
    socket.write(lineEnd);
    socket.uncork();
  }
}
