import type { Socket } from 'node:net';
import { holdable } from '../memory/run-memory.ts';

/** The longest line before a chunk: four bytes in hexadecimal, and its end. */
const maxSizeLineBytes = 10;
/**
 * What is written at once is put together in one buffer, if it is not longer. A socket that does not take it keeps all of
 * that buffer.
 */
const maxGatheredBytes = 8192;

const CR = 0x0d;
const LF = 0x0a;
const lineEnd = Buffer.from('\r\n');

const gatheredBytes = maxSizeLineBytes + maxGatheredBytes + lineEnd.length;

/**
 * Everybody's: the kernel takes a copy at once. If it did not take everything, the socket keeps this one
 * until it has, and the next write gets another.
 */
let gathered = Buffer.allocUnsafeSlow(gatheredBytes);

/**
 * The body of a response in HTTP/1.1's chunks, written straight to its socket. Node's own response makes four
 * buffers and a vectored write of each piece; this makes one write of everything that came in one turn.
 */
export class ChunkedBody {
  readonly #socket: Socket;
  readonly #highWaterMark: number;
  /** What was added, up to the count. An array that is emptied lets go of its memory, and would take new for every token. */
  #parts: (Uint8Array | undefined)[] = [undefined];
  #count = 0;
  #partsBytes = 0;
  /** With the lines around chunks. */
  writtenBytes = 0;

  /** The response's head must have been written to the socket, and nobody else may write. */
  constructor(socket: Socket) {
    this.#socket = socket;
    this.#highWaterMark = socket.writableHighWaterMark;
  }

  /** Whether more waits in this process than is good: what waits should wait in the channel. */
  get isBlocked(): boolean {
    return this.#socket.writableLength >= this.#highWaterMark;
  }

  /**
   * Adds to what is written with the next {@link flush}. Returns whether there should be more before that: what a
   * reader that has stalled does not take is kept here, and should not be much.
   */
  add(bytes: Uint8Array): boolean {
    this.#parts[this.#count] = bytes;
    this.#count += 1;
    this.#partsBytes += bytes.length;
    return this.#partsBytes < this.#highWaterMark;
  }

  /** Writes what was added, as one chunk. */
  flush(): void {
    const length = this.#partsBytes;
    // A chunk without bytes would be the end.
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
    // Of a socket that has not taken what came before, it is known already that it will keep this.
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

  /** A large part that waits in the socket is the one that the channel's history has. */
  #writeParts(sizeLine: string): void {
    const socket = this.#socket;
    socket.cork();
    socket.write(`${sizeLine}\r\n`, 'latin1');
    for (const part of this.#parts) if (part !== undefined) socket.write(holdable(part));
    socket.write(lineEnd);
    socket.uncork();
  }
}
