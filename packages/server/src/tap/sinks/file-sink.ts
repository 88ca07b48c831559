import { constants } from 'node:fs';
import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import type { ServerClock } from '../../time/server-clock.ts';
import { RotatedFiles } from './rotated-files.ts';
import { fileLineOf, scanLines } from './record-line.ts';
import { WriteTurn } from './write-turn.ts';

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
 * One program writes to the file. What others do to it is noticed before the next batch: after a deletion or a `mv` the
 * batch goes into a new file, after a cut behind what is left. After a write that failed (a full disk, a defective one)
 * the file is cut to what was acknowledged, and is written again.
 *
 * @throws {SpillwayError} `sink_failed` when the file cannot be opened; `invalid_option`.
 * @example
 * ```ts
 * const sink = await openFileSink('/var/log/spillway/audit.jsonl', { maxFiles: 30, clock: nodeClock });
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('{"v":1,"stream":"s1","seq":0}') }], signal);
 * ```
 */
export async function openFileSink(
  path: string,
  { maxFileBytes = 67_108_864, maxAgeMs = 86_400_000, maxFiles = Infinity, clock }: FileSinkOptions,
): Promise<FileSink> {
  for (const [name, value] of Object.entries({ maxFileBytes, maxAgeMs, maxFiles })) {
    if (!(value >= 1))
      throw new SpillwayError('invalid_option', `${name}: expected 1 or more, got ${value}.`);
  }
  const sink = new OpenFileSink(path, { maxFileBytes, maxAgeMs, maxFiles, clock });
  await sink.open();
  return sink;
}

/** The current file. */
interface CurrentFile {
  readonly handle: FileHandle;
  /** Which file it is, also when another one has its name. */
  readonly inode: number;
  readonly begunMs: number;
  /** Where the acknowledged lines end. */
  bytes: number;
  /** Whether a write has failed: what lies behind `bytes` is unknown. */
  isDirty: boolean;
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
  #file: CurrentFile | undefined;
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
      this.#file = await this.#openFile();
    });
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#append(records));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      await this.#file?.handle.close();
      this.#file = undefined;
    });
  }

  async #append(records: readonly SinkRecord[]): Promise<void> {
    // All are looked at before anything is written.
    const lines = records.map(fileLineOf);
    if (lines.length === 0) return;
    await this.#orFailed(async () => {
      const current = await this.#currentFile();
      const unkept = records.map((record) => !this.#has(current, record));
      const bytes = Buffer.concat(lines.filter((_, index) => unkept[index]).flat());
      if (bytes.length === 0) return;
      const file = this.#isFull(current, bytes.length) ? await this.#rotate(current) : current;
      file.isDirty = true;
      for (let from = 0; from < bytes.length;) {
        const { bytesWritten } = await file.handle.write(bytes, from, bytes.length - from, file.bytes + from);
        from += bytesWritten;
      }
      await file.handle.datasync();
      file.isDirty = false;
      file.bytes += bytes.length;
      for (const { stream, seq } of records)
        file.last.set(stream, Math.max(seq, file.last.get(stream) ?? -1));
    });
  }

  #has({ last }: CurrentFile, { stream, seq }: SinkRecord): boolean {
    return seq <= (last.get(stream) ?? this.#before?.get(stream) ?? -1);
  }

  #isFull({ bytes, begunMs }: CurrentFile, moreBytes: number): boolean {
    const { maxFileBytes, maxAgeMs, clock } = this.#options;
    if (bytes === 0) return false;
    return bytes + moreBytes > maxFileBytes || clock.dateMs() - begunMs >= maxAgeMs;
  }

  /** The current file, with nothing behind its acknowledged lines. */
  async #currentFile(): Promise<CurrentFile> {
    const known = this.#file;
    const found = await stat(this.#path).catch(unlessMissing);
    const isOurs = known !== undefined && found?.ino === known.inode;
    if (isOurs && !known.isDirty && found.size === known.bytes) return known;
    this.#file = undefined;
    await known?.handle.close();
    // After a failed write nothing is known of the descriptor, nor of what lies behind the acknowledged lines.
    if (isOurs && known.isDirty && found.size >= known.bytes) {
      const handle = await open(this.#path, 'r+');
      this.#file = { ...known, handle };
      await handle.truncate(known.bytes);
      await handle.datasync();
      this.#file.isDirty = false;
    } else {
      if (known !== undefined && !isOurs) this.#before = known.last;
      this.#file = await this.#openFile();
    }
    return this.#file;
  }

  /** Opens the file with its name, or makes one. */
  async #openFile(): Promise<CurrentFile> {
    this.#before ??= await this.#lastOfRotated();
    const handle = await open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      await syncFolder(dirname(this.#path));
      const { ino: inode, size, birthtimeMs, mtimeMs } = await handle.stat();
      const { last, wholeBytes } = await scanLines(handle);
      if (wholeBytes < size) {
        await handle.truncate(wholeBytes);
        await handle.datasync();
        this.tornBytes += size - wholeBytes;
      }
      const begunMs = size === 0 ? this.#options.clock.dateMs() : birthtimeMs || mtimeMs;
      return { handle, inode, begunMs, bytes: wholeBytes, isDirty: false, last };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #lastOfRotated(): Promise<ReadonlyMap<string, number>> {
    const newest = (await this.#rotated.list()).at(-1);
    if (newest === undefined) return new Map();
    await using handle = await open(newest, 'r');
    return (await scanLines(handle)).last;
  }

  async #rotate(file: CurrentFile): Promise<CurrentFile> {
    this.#file = undefined;
    await file.handle.close();
    await rename(this.#path, await this.#rotated.next(this.#options.clock.dateMs()));
    this.#before = file.last;
    this.#file = await this.#openFile();
    await this.#rotated.prune(this.#options.maxFiles);
    return this.#file;
  }

  async #orFailed(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
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

/** Makes durable which names a folder has. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}
