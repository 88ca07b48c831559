import type { Stats } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import type { ServerClock } from '../../time/server-clock.ts';
import { AppendFile } from './append-file.ts';
import { expectFileOrNothing } from '../../audit/expect-file.ts';
import { FileLock } from './file-lock.ts';
import { RotatedFiles } from './rotated-files.ts';
import { fileLineOf, scanLines } from './record-line.ts';

/** What somebody else took away from the current file. */
export interface FileLoss {
  readonly path: string;
  /** Whether the file was made shorter, or has no name any more. */
  readonly what: 'cut' | 'removed';
  /** The bytes of acknowledged records that are gone. Above 0. */
  readonly bytes: number;
}

/** How a file sink rotates, and its clock. */
export interface FileSinkOptions {
  /**
   * A file that would be larger with the next batch is renamed, and the batch is the first of a new one: a batch is
   * never torn across files. Minimum 1. Default: 64 MiB. The largest file has this size or that of one batch.
   */
  readonly maxFileBytes?: number;
  /**
   * A file that was begun longer ago is renamed at the next batch, in milliseconds, at least 1. A file to which nothing
   * is written stays. Default: a day.
   */
  readonly maxAgeMs?: number;
  /** The renamed files that are kept, beside the current one; the oldest are deleted. Minimum 1. Default: all. */
  readonly maxFiles?: number;
  /** Is told of what somebody else took away. Default: nobody. */
  readonly onLoss?: (loss: FileLoss) => void;
  readonly clock: Pick<ServerClock, 'dateMs'>;
}

/** A {@link RecordSink} of lines in files. */
export interface FileSink extends RecordSink {
  /**
   * The bytes of records that a crash has cut, and that were removed from the end of the file. None of them was
   * acknowledged.
   */
  readonly tornBytes: number;
}

/**
 * Opens a sink that writes each record as a line of JSON, with mode 0600, and syncs the file after each batch: its
 * durability is `fsync`. The file `audit.jsonl` is renamed to `audit-2026-11-28T01-02-03.123Z.jsonl` by size and age, and
 * never onto another file.
 *
 * A record's value has to be JSON on one line that begins with the record's id, as a `TapRecord` does; others reject with
 * `invalid_option`. A record that is written again is recognised by the numbers in the current file and in the one
 * before it, which are read once at the start, with 100 bytes of memory for each stream in them.
 *
 * One program writes to the file: `audit.jsonl.lock` is locked, and there, while it does. A file that has no records is left as
 * it is, and refused. What others do to the file is noticed before
 * the next batch: after a deletion or a `mv` the batch goes into a new file, after a cut behind what is left. `onLoss` is told
 * of a deletion and of a cut, not of a `mv`, which loses nothing. After a write that failed (a full disk, a defective one)
 * the file is cut to what was acknowledged, and is written again.
 *
 * @throws {SpillwayError} `sink_failed` when the file cannot be opened; `invalid_option` for an option, or something else at
 * the path.
 * @example
 * ```ts
 * const sink = await openFileSink('/var/log/spillway/audit.jsonl', { maxFiles: 30, clock: nodeClock });
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('{"v":1,"stream":"s1","seq":0}') }], signal);
 * ```
 */
export async function openFileSink(
  path: string,
  {
    maxFileBytes = 67_108_864,
    maxAgeMs = 86_400_000,
    maxFiles = Infinity,
    onLoss = () => {},
    clock,
  }: FileSinkOptions,
): Promise<FileSink> {
  for (const [name, value] of Object.entries({ maxFileBytes, maxAgeMs, maxFiles })) {
    if (!(value >= 1))
      throw new SpillwayError('invalid_option', `${name}: expected 1 or more, got ${value}.`);
  }
  const sink = new OpenFileSink(path, { maxFileBytes, maxAgeMs, maxFiles, onLoss, clock });
  await sink.open();
  return sink;
}

/** The current file. */
interface CurrentFile {
  readonly file: AppendFile;
  readonly begunMs: number;
  /** The highest number of each stream in the file. */
  readonly last: Map<string, number>;
}

class OpenFileSink implements FileSink {
  readonly durability = 'fsync';
  tornBytes = 0;
  readonly #path: string;
  readonly #options: Required<FileSinkOptions>;
  readonly #rotated: RotatedFiles;
  readonly #turn: WriteTurn;
  #lock: FileLock | undefined;
  #current: CurrentFile | undefined;
  /** The highest number of each stream in the file before; `undefined`: it was not read yet. */
  #before: ReadonlyMap<string, number> | undefined;

  constructor(path: string, options: Required<FileSinkOptions>) {
    this.#path = path;
    this.#options = options;
    this.#rotated = new RotatedFiles(path);
    this.#turn = new WriteTurn(`The file ${path}`);
  }

  async open(): Promise<void> {
    await this.#orFailed(async () => {
      expectFileOrNothing(this.#path);
      this.#lock = await FileLock.take(`${this.#path}.lock`, `The file ${this.#path}`);
      try {
        this.#current = await this.#openFile('invalid_option');
      } catch (error) {
        this.#lock.release();
        throw error;
      }
    });
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#append(records));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      try {
        await this.#current?.file.close();
      } finally {
        this.#lock?.release();
      }
    });
  }

  async #append(records: readonly SinkRecord[]): Promise<void> {
    // All are looked at before anything is written.
    expectRecords(records);
    const lines = records.map(fileLineOf);
    if (lines.length === 0) return;
    await this.#orFailed(async () => {
      const known = await this.#openCurrent();
      const bytes = Buffer.concat(lines.filter((_, index) => !this.#has(known, records[index])).flat());
      if (bytes.length === 0) return;
      const { file, last } = this.#isFull(known, bytes.length) ? await this.#rotate(known) : known;
      await file.append(bytes);
      for (const { stream, seq } of records) last.set(stream, Math.max(seq, last.get(stream) ?? -1));
    });
  }

  #has({ last }: CurrentFile, record: SinkRecord | undefined): boolean {
    if (record === undefined) return false;
    return record.seq <= (last.get(record.stream) ?? this.#before?.get(record.stream) ?? -1);
  }

  #isFull({ begunMs, file: { bytes } }: CurrentFile, moreBytes: number): boolean {
    const { maxFileBytes, maxAgeMs, clock } = this.#options;
    if (bytes === 0) return false;
    return bytes + moreBytes > maxFileBytes || clock.dateMs() - begunMs >= maxAgeMs;
  }

  /** The file with the name, whatever others have done to it since the last batch. */
  async #openCurrent(): Promise<CurrentFile> {
    const known = this.#current;
    const found = await stat(this.#path).catch(unlessMissing);
    if (known !== undefined && found?.ino === known.file.inode) {
      const { bytes, isDirty } = known.file;
      if (isDirty ? found.size >= bytes : found.size === bytes) return known;
    } else if (known !== undefined) {
      this.#before = known.last;
    }
    const loss = known && (await this.#lossOf(known.file, found));
    this.#current = undefined;
    await known?.file.close();
    if (loss !== undefined) this.#options.onLoss(loss);
    this.#current = await this.#openFile();
    return this.#current;
  }

  /** What is gone of the file, when its name has `found` now. */
  async #lossOf(file: AppendFile, found: Stats | undefined): Promise<FileLoss | undefined> {
    const isCut = found?.ino === file.inode;
    const bytes = isCut ? file.bytes - found.size : (await file.isRemoved()) ? file.bytes : 0;
    return bytes > 0 ? { path: this.#path, what: isCut ? 'cut' : 'removed', bytes } : undefined;
  }

  /** Once it was open nothing is wrong with what is written: a sink that says so would be given no record again. */
  async #openFile(codeOfOther: 'invalid_option' | 'sink_failed' = 'sink_failed'): Promise<CurrentFile> {
    this.#before ??= await this.#lastOfRotated();
    let begunMs = this.#options.clock.dateMs();
    let last = new Map<string, number>();
    const file = await AppendFile.open(this.#path, async (handle) => {
      const { size, birthtimeMs, mtimeMs } = await handle.stat();
      const scan = await scanLines(handle);
      // Behind its last line a file is cut: nothing of somebody else's may be.
      if (!scan.isOwn)
        throw new SpillwayError(
          codeOfOther,
          `${this.#path}: expected lines of records or no file, got another file.`,
        );
      if (size > 0) begunMs = birthtimeMs || mtimeMs;
      last = scan.last;
      this.tornBytes += size - scan.wholeBytes;
      return scan.wholeBytes;
    });
    return { file, begunMs, last };
  }

  async #lastOfRotated(): Promise<ReadonlyMap<string, number>> {
    const newest = (await this.#rotated.list()).at(-1);
    if (newest === undefined) return new Map();
    await using handle = await open(newest, 'r');
    return (await scanLines(handle)).last;
  }

  async #rotate({ file, last }: CurrentFile): Promise<CurrentFile> {
    this.#current = undefined;
    await file.close();
    await rename(this.#path, await this.#rotated.next(this.#options.clock.dateMs()));
    this.#before = last;
    this.#current = await this.#openFile();
    await this.#rotated.prune(this.#options.maxFiles);
    return this.#current;
  }

  async #orFailed(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof SpillwayError) throw error;
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      const message = `The file ${this.#path} could not be written (${code}). What was acknowledged is kept; the next write tries again.`;
      throw new SpillwayError('sink_failed', message, { cause: error });
    }
  }
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
