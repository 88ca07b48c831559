import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { statSync } from 'node:fs';
import { type Durability, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import type { RefusedRecord } from '@spillway/core/engine';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import type { ServerClock } from '../../time/server-clock.ts';
import { syncFolder } from '../../audit/sync-folder.ts';
import { refusedIn } from './sink-error.ts';

/** What became of records that an engine refused. */
export interface DeadLetters {
  /** In the order in which they were written. At least one. */
  readonly refused: readonly RefusedRecord[];
  /** Whether they are in the file. Otherwise they are lost. */
  readonly areKept: boolean;
}

/** Where dead letters go, and their bounds. */
export interface DeadLetterSinkOptions {
  /** The file. It is made with mode 0600 when the first record is refused. */
  readonly path: string;
  /** Who writes, as each line is to say in `tap`: several may have the same file. Default: no line does. */
  readonly owner?: string;
  /** The bytes of the file; it never grows beyond. Minimum 1. Default: 64 MiB. */
  readonly maxBytes?: number;
  /**
   * What becomes of a refused record that the file cannot take, because it is full or its disk fails. `fail`: the write
   * rejects, as if the engine were away. `drop`: the record is lost, and the write goes on.
   */
  readonly whenFull: 'drop' | 'fail';
  readonly clock: Pick<ServerClock, 'dateMs'>;
  /** Is told of each write of which records were refused, when that is settled. Must not throw. */
  readonly onRefused?: (letters: DeadLetters) => void;
  /** Called when the sink is closed, after all else. Must not throw. */
  readonly onClose?: () => void;
}

/** A {@link RecordSink} that puts what its engine refuses for ever into a file. */
export interface DeadLetterSink extends RecordSink {
  readonly path: string;
  /** The bytes of the file, as of the last look at it. At most `maxBytes`. */
  readonly letterBytes: number;
  readonly maxBytes: number;
  /** The records that were put into the file since the sink was opened. */
  readonly letters: number;
  /** The refused records that are lost, since the sink was opened. */
  readonly lostRecords: number;
  /** Why the file did not take the last ones, with what to do; `undefined`: it did. */
  readonly problem: string | undefined;
}

/**
 * Makes a sink whose writes do not fail for records that the engine refuses for ever (`records_refused`): these go to a file,
 * a line of JSON each, synced before the write resolves, and block nothing behind them. Each line has `stream`, `seq`, `at`
 * (when it was refused, in milliseconds since 1970), `reason` (the engine's) and the record's `value` as text, or as
 * `base64` if it is no UTF-8; `tap` before them, where there is an `owner`.
 *
 * A record that was refused before a crash, or before a write was aborted, may be there twice. Several sinks may have the
 * same file.
 *
 * @param engine is closed with the sink.
 * @throws {SpillwayError} `invalid_option`.
 * @example
 * ```ts
 * const sink = openDeadLetterSink(await openMyEngine(), { path: 'dead-letters.jsonl', whenFull: 'fail', clock: nodeClock });
 * ```
 */
export function openDeadLetterSink(engine: RecordSink, options: DeadLetterSinkOptions): DeadLetterSink {
  const { maxBytes = 67_108_864 } = options;
  if (!(maxBytes >= 1))
    throw new SpillwayError('invalid_option', `maxBytes: expected 1 or more, got ${maxBytes}.`);
  return new OpenDeadLetterSink(engine, options, maxBytes);
}

class OpenDeadLetterSink implements DeadLetterSink {
  readonly path: string;
  readonly maxBytes: number;
  letters = 0;
  letterBytes: number;
  lostRecords = 0;
  problem: string | undefined;
  readonly #engine: RecordSink;
  readonly #options: DeadLetterSinkOptions;
  readonly #turn = new WriteTurn('The sink');
  /** Whether the file may end within a line. */
  #isTorn = false;

  constructor(engine: RecordSink, options: DeadLetterSinkOptions, maxBytes: number) {
    this.path = options.path;
    this.maxBytes = maxBytes;
    this.#engine = engine;
    this.#options = options;
    this.letterBytes = sizeOf(options.path);
  }

  get durability(): Durability {
    return this.#engine.durability;
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, async () => {
      expectRecords(records);
      try {
        await this.#engine.write(records, signal);
      } catch (error) {
        const refused = refusedIn(error);
        // Who gave the write up writes it again, and is told then.
        if (refused === undefined || signal.aborted) throw error;
        await this.#bury(refused);
      }
    });
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      await this.#engine.close();
      this.#options.onClose?.();
    });
  }

  async #bury(refused: readonly RefusedRecord[]): Promise<void> {
    const { clock, onRefused, owner, whenFull } = this.#options;
    const at = clock.dateMs();
    try {
      await this.#append(Buffer.concat(refused.map((letter) => lineOf(letter, at, owner))));
      this.letters += refused.length;
      this.problem = undefined;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      if (whenFull === 'fail') throw error;
      this.lostRecords += refused.length;
      onRefused?.({ refused, areKept: false });
      return;
    }
    onRefused?.({ refused, areKept: true });
  }

  /** All of them or none, as far as the disk does what it is told: what failed is written again. */
  async #append(lines: Buffer): Promise<void> {
    try {
      await using file = await open(this.path, 'a', 0o600);
      await this.#appendTo(file, this.#isTorn ? Buffer.concat([Buffer.from('\n'), lines]) : lines);
    } catch (error) {
      if (error instanceof SpillwayError) throw error;
      throw new SpillwayError('sink_failed', `The dead letters ${this.path} could not be written.`, {
        cause: error,
      });
    }
  }

  async #appendTo(file: FileHandle, bytes: Buffer): Promise<void> {
    const { size } = await file.stat();
    this.letterBytes = size;
    if (size + bytes.length > this.maxBytes) {
      throw new SpillwayError(
        'sink_failed',
        `The dead letters ${this.path} are full: the file has ${size} bytes, ${bytes.length} more came, and its bound is ${this.maxBytes}. Move it away, or raise the bound.`,
      );
    }
    this.#isTorn = true;
    await file.appendFile(bytes);
    await file.datasync();
    if (size === 0) await syncFolder(dirname(this.path));
    this.#isTorn = false;
    this.letterBytes = size + bytes.length;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function lineOf(
  { reason, record: { seq, stream, value } }: RefusedRecord,
  at: number,
  tap: string | undefined,
): Buffer {
  return Buffer.from(`${JSON.stringify({ tap, stream, seq, at, reason, ...written(value) })}\n`);
}

function written(value: Uint8Array): { readonly value: string } | { readonly base64: string } {
  try {
    return { value: decoder.decode(value) };
  } catch {
    return { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
  }
}

/** 0, too, where nobody can look: the first letter says what is wrong there. */
function sizeOf(path: string): number {
  try {
    return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  } catch {
    return 0;
  }
}
