import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SinkRecord, SpillwayError } from '@spillway/core';
import { AppendFile } from './append-file.ts';
import { FileLock } from './file-lock.ts';
import { encodeFrame, readFrames } from './spill-frame.ts';

/**
 * A new segment begins where this one would be larger: the most that is in memory of what was spilled, but for an
 * append that is larger itself. It is read in 3 ms at most, in which the program does nothing else.
 */
const maxSegmentBytes = 1_048_576;
/** A segment that cannot be read is tried again so often before it is set aside. */
const maxReadFailures = 3;

/** The bytes of records that the folder of a spill has, unless they are damaged. 0: none, or there is no such folder. */
export async function spilledBytes(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = names
    .filter((name) => /^\d{12}\.spill$/.test(name))
    .map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** A part of a spill that could not be read. */
export interface SpillDamage {
  /** The file with it, or the one behind it. Files with damage are kept, as `….damaged`, and count for `maxBytes`. */
  readonly path: string;
  /** The bytes that are no records; 0: something is missing. */
  readonly bytes: number;
  /** The records that were there, as far as is known. */
  readonly records: number;
}

export interface SpillQueueOptions {
  readonly maxBytes: number;
  readonly onDamage: (damage: SpillDamage) => void;
}

/** A file of the queue. */
interface Segment {
  readonly serial: number;
  readonly path: string;
  /** What counts of the file. What is behind it is of an append that has failed. */
  bytes: number;
  /** Absent: the file is of an earlier run. */
  readonly file?: AppendFile;
}

/** The oldest segment, in memory. */
interface Head {
  readonly segment: Segment;
  readonly records: readonly SinkRecord[];
  /** After how many records frames end, and at which bytes. */
  readonly ends: readonly { readonly count: number; readonly position: number }[];
  readonly isDamaged: boolean;
  /** How many of the records were taken. */
  taken: number;
}

/**
 * Records on a disk, in the order in which they came: a folder of segments. The oldest one is read as a whole when all
 * before it were taken, and is deleted when it was taken itself. Appends go to the newest one, which is never read while
 * it grows. After a crash it is known what was taken, but for the last batch.
 */
export class SpillQueue {
  readonly #lock: FileLock;
  readonly #folder: string;
  readonly #options: SpillQueueOptions;
  /** The bound of {@link bytes}. May change at any time. */
  maxBytes: number;
  /** All segments, the oldest first. */
  readonly #segments: Segment[] = [];
  /** The segment that grows. */
  #tail: (Segment & { readonly file: AppendFile }) | undefined;
  /** The append under way; never rejects. */
  #appending: Promise<void> | undefined;
  #head: Head | undefined;
  #readFailures = 0;
  /** The highest number of a segment that there ever was, as far as is known. */
  #serial = 0;
  /** Where the oldest segment's records begin that were not taken by an earlier run. */
  #cursor = { serial: 0, position: 0 };
  /** The number of the record that is taken next; `undefined`: none was read yet. */
  #firstOrdinal: number | undefined;
  /** The number of the record that is appended next. */
  #endOrdinal = 0;
  #bytes = 0;

  private constructor(folder: string, lock: FileLock, options: SpillQueueOptions) {
    this.#lock = lock;
    this.#folder = folder;
    this.#options = options;
    this.maxBytes = options.maxBytes;
  }

  /** Opens the queue of that folder, which is made with mode 0700. Two segments are read of what is there. */
  static async open(folder: string, options: SpillQueueOptions): Promise<SpillQueue> {
    await mkdir(folder, { mode: 0o700, recursive: true });
    const lock = await FileLock.take(join(folder, 'lock'), `The spill ${folder}`);
    const queue = new SpillQueue(folder, lock, options);
    try {
      await queue.#load();
      return queue;
    } catch (error) {
      queue.#lock.release();
      throw error;
    }
  }

  /** Whether there is nothing to take. */
  get isEmpty(): boolean {
    return this.#segments.length === 0;
  }

  /** The records that were not taken. */
  get records(): number {
    return Math.max(0, this.#endOrdinal - (this.#firstOrdinal ?? this.#endOrdinal));
  }

  /** The bytes of all files; ≤ `maxBytes` always, unless there was a larger bound before. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends records. Resolved means that they are on the disk; after a rejection all of them may be, or none. One at a
   * time.
   *
   * @throws {SpillwayError} `sink_failed` when they do not fit.
   */
  async append(records: readonly SinkRecord[]): Promise<void> {
    const frame = encodeFrame(records, this.#endOrdinal);
    if (this.#bytes + frame.length > this.maxBytes) {
      throw new SpillwayError(
        'sink_failed',
        `The spill ${this.#folder} is full: it has ${this.#bytes} bytes, ${frame.length} more came, and its bound is ${this.maxBytes}.`,
      );
    }
    const appending = this.#append(frame);
    this.#appending = appending
      .catch(() => undefined)
      .finally(() => {
        this.#appending = undefined;
      });
    await appending;
    this.#endOrdinal += records.length;
  }

  /** The oldest records that were not taken, at least one. `undefined`: there are none. Not to be called again before it settles. */
  async next(maxRecords: number, maxBytes: number): Promise<readonly SinkRecord[] | undefined> {
    for (;;) {
      const head = (this.#head ??= await this.#openHead());
      if (head === undefined) return undefined;
      let bytes = 0;
      let to = head.taken;
      while (to < head.records.length && to - head.taken < maxRecords && bytes < maxBytes) {
        bytes += head.records[to]?.value.length ?? 0;
        to += 1;
      }
      if (to > head.taken) return head.records.slice(head.taken, to);
      await this.#removeHead(head);
    }
  }

  /** So many records of the last `next` are taken, and are never found again, but after a crash. */
  async took(count: number): Promise<void> {
    const head = this.#head;
    if (head === undefined) return;
    head.taken += count;
    this.#firstOrdinal = (this.#firstOrdinal ?? 0) + count;
    if (head.taken === head.records.length) return this.#removeHead(head);
    const end = head.ends.findLast((candidate) => candidate.count <= head.taken);
    // Not synced: what is taken twice after a power failure is recognised by the engine.
    if (end !== undefined)
      await writeFile(this.#cursorPath, `${head.segment.serial} ${end.position}\n`, { mode: 0o600 });
  }

  async close(): Promise<void> {
    await this.#appending;
    try {
      for (const { file } of this.#segments) await file?.close();
    } finally {
      this.#lock.release();
    }
  }

  /** An eighth of the queue at most, because the room of a segment is free again when all of it was taken. */
  get #maxSegmentBytes(): number {
    return Math.min(maxSegmentBytes, this.maxBytes / 8);
  }

  get #cursorPath(): string {
    return join(this.#folder, 'taken');
  }

  async #append(frame: Buffer): Promise<void> {
    let tail = this.#tail;
    if (tail !== undefined && tail.bytes > 0 && tail.bytes + frame.length > this.#maxSegmentBytes) {
      await tail.file.close();
      tail = undefined;
    }
    tail ??= await this.#newSegment();
    this.#tail = tail;
    await tail.file.append(frame);
    tail.bytes += frame.length;
    this.#bytes += frame.length;
  }

  async #newSegment(): Promise<Segment & { readonly file: AppendFile }> {
    const serial = this.#serial + 1;
    const path = join(this.#folder, `${String(serial).padStart(12, '0')}.spill`);
    const file = await AppendFile.open(path, async () => 0);
    this.#serial = serial;
    const segment = { serial, path, bytes: 0, file };
    this.#segments.push(segment);
    return segment;
  }

  /** Reads the oldest segment. */
  async #openHead(): Promise<Head | undefined> {
    const [segment] = this.#segments;
    if (segment === undefined) return undefined;
    // The append under way may be to this segment. The next one is to another.
    while (this.#appending !== undefined) await this.#appending;
    if (segment === this.#tail) this.#tail = undefined;
    await segment.file?.close();
    const content = await this.#read(segment);
    if (content === undefined) return { segment, records: [], ends: [], isDamaged: true, taken: 0 };
    const position = segment.serial === this.#cursor.serial ? this.#cursor.position : 0;
    const { frames, damagedBytes } = readFrames(content.subarray(position));
    let lost = 0;
    let count = 0;
    let expected = this.#firstOrdinal ?? frames[0]?.ordinal ?? this.#endOrdinal;
    const ends = frames.map(({ records, ordinal, to }) => {
      lost += Math.max(0, ordinal - expected);
      expected = ordinal + records.length;
      return { count: (count += records.length), position: position + to };
    });
    this.#firstOrdinal = expected - count;
    const isDamaged = damagedBytes > 0;
    if (isDamaged || lost > 0)
      this.#options.onDamage({ path: segment.path, bytes: damagedBytes, records: lost });
    return { segment, records: frames.flatMap(({ records }) => records), ends, isDamaged, taken: 0 };
  }

  /** `undefined`: it cannot be read, and was tried often enough. */
  async #read({ bytes, path }: Segment): Promise<Buffer | undefined> {
    try {
      const content = await readFile(path);
      this.#readFailures = 0;
      return content.subarray(0, bytes);
    } catch (error) {
      this.#readFailures += 1;
      if (this.#readFailures < maxReadFailures) throw error;
      this.#readFailures = 0;
      this.#options.onDamage({ path, bytes, records: 0 });
      return undefined;
    }
  }

  async #removeHead({ isDamaged, segment }: Head): Promise<void> {
    if (isDamaged)
      await rename(segment.path, segment.path.replace(/spill$/, 'damaged')).catch(() => undefined);
    else await rm(segment.path, { force: true });
    this.#head = undefined;
    this.#segments.shift();
    if (!isDamaged) this.#bytes -= segment.bytes;
    const lost = this.isEmpty && this.#appending === undefined ? this.records : 0;
    // What was lost at the end is missed by no later record.
    if (lost > 0) {
      this.#firstOrdinal = this.#endOrdinal;
      this.#options.onDamage({ path: segment.path, bytes: 0, records: lost });
    }
  }

  async #load(): Promise<void> {
    const cursor = /^(\d+) (\d+)\n$/.exec(await readFile(this.#cursorPath, 'latin1').catch(() => ''));
    if (cursor !== null) this.#cursor = { serial: Number(cursor[1]), position: Number(cursor[2]) };
    this.#serial = this.#cursor.serial;
    for (const name of (await readdir(this.#folder)).toSorted()) {
      const [, digits, kind] = /^(\d{12})\.(spill|damaged)$/.exec(name) ?? [];
      if (digits === undefined) continue;
      const serial = Number(digits);
      const path = join(this.#folder, name);
      const { size } = await stat(path);
      this.#serial = Math.max(this.#serial, serial);
      this.#bytes += size;
      if (kind === 'spill') this.#segments.push({ serial, path, bytes: size });
    }
    for (const { path } of this.#segments.toReversed()) {
      // One that cannot be read now is tried again when it is the oldest.
      const content = await readFile(path).catch(() => Buffer.alloc(0));
      const last = readFrames(content).frames.at(-1);
      if (last === undefined) continue;
      this.#endOrdinal = last.ordinal + last.records.length;
      break;
    }
    if (this.isEmpty) this.#firstOrdinal = 0;
    else this.#head = await this.#openHead().catch(() => undefined);
  }
}
