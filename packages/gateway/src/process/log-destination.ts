import type { Output } from './output.ts';

/** The most bytes that wait to be written. A further line is dropped. */
const maxWaitingBytes = 1_048_576;
/** A write takes lines until it has at least so many bytes. */
const maxWriteBytes = 65_536;
/** The wait before the next write to a terminal that took nothing. */
const retryMs = 20;

/**
 * The output of the program's log. The gateway never waits for it: at most 1 MiB waits to be written, and one
 * write is under way. Lines that do not fit or cannot be written (a full disk, a closed pipe) are dropped and
 * counted. The next write that succeeds begins with a line that tells how many were dropped.
 */
export class LogDestination {
  readonly #output: Output;
  #lines: string[] = [];
  #waitingBytes = 0;
  #isWriting = false;
  /** The last write ended within a line. */
  #isTorn = false;
  #droppedLines = 0;
  /** The dropped lines that no written line has reported yet. */
  #untoldLines = 0;
  #onIdle: (() => void) | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  /** The number of lines dropped since the process started. */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** The bytes that wait to be written, including those of the write under way. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes a line, which has to contain its line end. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#waitingBytes + bytes > maxWaitingBytes) {
      this.#drop(1);
      return;
    }
    this.#lines.push(line);
    this.#waitingBytes += bytes;
    if (this.#isWriting) return;
    this.#isWriting = true;
    // The lines of one turn of the event loop share one write.
    setImmediate(() => this.#writeNext());
  }

  /** Resolves when all lines are written or dropped, or after `maxMs`. */
  flushed(maxMs: number): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      setTimeout(resolve, maxMs);
    });
  }

  #drop(lines: number): void {
    this.#droppedLines += lines;
    this.#untoldLines += lines;
  }

  #writeNext(): void {
    const lines = this.#take();
    if (lines.length === 0) {
      this.#isWriting = false;
      this.#onIdle?.();
      return;
    }
    const told = this.#untoldLines;
    const start = Buffer.from(`${this.#isTorn ? '\n' : ''}${told > 0 ? droppedLine(told) : ''}`);
    const bytes = Buffer.concat([start, Buffer.from(lines.join(''))]);
    this.#writeFrom(bytes, 0, (writtenBytes) => {
      this.#waitingBytes -= bytes.length - start.length;
      if (writtenBytes >= start.length) this.#untoldLines -= told;
      if (writtenBytes > 0) this.#isTorn = bytes[writtenBytes - 1] !== lineEnd;
      const lostBytes = bytes.subarray(Math.max(writtenBytes, start.length));
      this.#drop(lostBytes.reduce((count, byte) => count + (byte === lineEnd ? 1 : 0), 0));
      this.#writeNext();
    });
  }

  /** Takes the lines of the next write; at least one, if any waits. */
  #take(): string[] {
    let count = 0;
    for (let bytes = 0; count < this.#lines.length && bytes < maxWriteBytes; count += 1) {
      bytes += Buffer.byteLength(this.#lines[count] ?? '');
    }
    return this.#lines.splice(0, count);
  }

  #writeFrom(bytes: Buffer, from: number, done: (writtenBytes: number) => void): void {
    this.#output(bytes.subarray(from), (error, written) => {
      const at = from + written;
      if (at === bytes.length) done(at);
      else if (error?.code === 'EAGAIN') setTimeout(() => this.#writeFrom(bytes, at, done), retryMs).unref();
      else if (error || written === 0) done(at);
      else this.#writeFrom(bytes, at, done);
    });
  }
}

const lineEnd = 0x0a;

/** A line in pino's format. */
function droppedLine(lines: number): string {
  const line = {
    level: 40,
    time: Date.now(),
    pid: process.pid,
    droppedLines: lines,
    msg: 'log lines were dropped',
  };
  return `${JSON.stringify(line)}\n`;
}
