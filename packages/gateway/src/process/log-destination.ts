import type { Output } from './output.ts';

/** What may wait to be written. A line more is dropped. */
const maxWaitingBytes = 1_048_576;
/** What is written at once. */
const maxWriteBytes = 65_536;
/** When a terminal that took nothing is tried again. */
const retryMs = 20;

/**
 * Where log lines go. Nothing waits for them: at most 1 MiB waits to be written, with one write under way, and what does not fit, or
 * cannot be written (a full disk, a reader that is gone), is dropped and counted. The next write that gets through begins with a
 * line that says how many were.
 */
export class LogDestination {
  readonly #output: Output;
  #lines: string[] = [];
  #waitingBytes = 0;
  #isWriting = false;
  /** A write ended within a line. */
  #isTorn = false;
  #droppedLines = 0;
  /** Those of which no line has told yet. */
  #untoldLines = 0;
  #onIdle: (() => void) | undefined;

  constructor(output: Output) {
    this.#output = output;
  }

  /** How many lines were dropped since the process started. */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** What waits, the write that is under way included. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes a line, with its end. */
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
    // The lines of one turn are one write.
    setImmediate(() => this.#writeNext());
  }

  /** Resolves when everything is written or dropped, or after that time. */
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

  /** The lines that are written next; at least one, if there is one. */
  #take(): string[] {
    let count = 0;
    for (let bytes = 0; count < this.#lines.length && bytes < maxWriteBytes; count += 1) {
      bytes += this.#lines[count]?.length ?? 0;
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

/** As pino writes its lines. */
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
