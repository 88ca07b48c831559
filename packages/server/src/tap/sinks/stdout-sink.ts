import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import type { ServerClock } from '../../time/server-clock.ts';
import { lineOf } from './record-line.ts';

/** The wait before the next write to a terminal that took nothing. */
const retryMs = 20;
/** So many streams are remembered, those that were written last: at most 2 MB. */
const maxKnownStreams = 10_000;

/**
 * Writes bytes, and calls `done` once, later, with the number of bytes written and the error that stopped the rest. It
 * is not called while the reader takes nothing.
 */
export type LineOutput = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, writtenBytes: number) => void,
) => void;

/**
 * Opens a sink that writes each record as a line to an output, such as the program's standard output. Its durability is
 * `memory`: a line that the pipe has taken is kept by nobody yet. A write waits for the pipe, until its signal is
 * aborted; a pipe whose reader has gone rejects with `sink_failed`.
 *
 * A line is never torn by another one: what a failed write left of its line is the beginning of the next write. Each
 * record is written once for as long as this sink lives, of the last 10,000 streams; what an earlier process has
 * written, nobody knows, so that after a restart a record may come twice.
 *
 * Nothing else may write to the output. A value with a line end rejects with `invalid_option`.
 *
 * @example
 * ```ts
 * // Not with `fs.write`: a pipe whose reader has stopped would keep a thread of Node's pool.
 * const output: LineOutput = (bytes, done) =>
 *   process.stdout.write(bytes, (error) => done(error, error ? 0 : bytes.length));
 * const sink = openStdoutSink(output, { clock: nodeClock });
 * ```
 */
export function openStdoutSink(output: LineOutput, { clock }: { readonly clock: ServerClock }): RecordSink {
  return new StdoutSink(output, clock);
}

class StdoutSink implements RecordSink {
  readonly durability = 'memory';
  readonly #output: LineOutput;
  readonly #clock: ServerClock;
  readonly #turn = new WriteTurn('The standard output');
  /** The highest number of each stream whose line was begun, the stream that was written last at the end. */
  readonly #last = new Map<string, number>();
  /** What is not written of a line that was begun. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(output: LineOutput, clock: ServerClock) {
    this.#output = output;
    this.#clock = clock;
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#append(records));
  }

  /** Nothing was opened: a pipe that takes nothing keeps nobody. */
  close(): Promise<void> {
    return this.#turn.close(async () => {});
  }

  async #append(records: readonly SinkRecord[]): Promise<void> {
    expectRecords(records);
    const lines = records.map((record) => ({ record, line: lineOf(record) }));
    if (lines.length === 0) return;
    const unkept = lines.filter(({ record: { stream, seq } }) => seq > (this.#last.get(stream) ?? -1));
    const bytes = Buffer.concat([this.#rest, ...unkept.flatMap(({ line }) => line)]);
    const { writtenBytes, error } = await this.#writeAll(bytes);
    let end = this.#rest.length;
    let begun = end;
    for (const { record, line } of unkept) {
      if (end >= writtenBytes) break;
      end += line[0].length + line[1].length;
      begun = end;
      this.#know(record);
    }
    this.#rest = Buffer.from(bytes.subarray(writtenBytes, Math.max(begun, writtenBytes)));
    if (error === undefined) return;
    const message = `The standard output did not take what was written (${error.code ?? 'unknown'}). Whoever reads it may have gone.`;
    throw new SpillwayError('sink_failed', message, { cause: error });
  }

  #know({ stream, seq }: SinkRecord): void {
    this.#last.delete(stream);
    this.#last.set(stream, seq);
    const [oldest] = this.#last.keys();
    if (this.#last.size > maxKnownStreams && oldest !== undefined) this.#last.delete(oldest);
  }

  async #writeAll(bytes: Buffer): Promise<{ writtenBytes: number; error?: NodeJS.ErrnoException }> {
    let writtenBytes = 0;
    while (writtenBytes < bytes.length) {
      const [error, more] = await this.#writeSome(bytes.subarray(writtenBytes));
      writtenBytes += more;
      if (error?.code === 'EAGAIN') await new Promise<void>((resolve) => this.#clock.after(retryMs, resolve));
      else if (error) return { writtenBytes, error };
    }
    return { writtenBytes };
  }

  #writeSome(bytes: Buffer): Promise<Parameters<Parameters<LineOutput>[1]>> {
    return new Promise((resolve) => this.#output(bytes, (...outcome) => resolve(outcome)));
  }
}
