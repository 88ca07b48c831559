import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
} from 'node:fs';
import { SpillwayError } from '@spillway/core';
import { hasAllPages } from './database-pages.ts';

/** What lies beside a database while it is open: SQLite finds it by the name of the database, and by nothing else. */
const companions = ['-wal', '-shm'] as const;

/**
 * The file of an open log: it is known by what it is, and not by its name, which somebody else may take from it. What SQLite
 * writes then goes on into the old file, and its write-ahead log waits under the old name for whoever takes that next.
 */
export class LogFile {
  readonly #path: string;
  readonly #realPath: string;
  readonly #identity: string | undefined;
  /** `undefined`: only the name is looked at. */
  #descriptor: number | undefined;
  #companions: ReadonlyMap<string, string | undefined> = new Map();

  /** The file has to be there. */
  constructor(path: string) {
    this.#path = path;
    this.#realPath = realpathSync(path);
    this.#identity = identityOf(path);
  }

  /** Looks into the file from now on, too, as its writer has to. */
  hold(): void {
    this.#descriptor = openSync(this.#path, 'r');
  }

  /**
   * Lets go of the file. Call it when SQLite has closed it: the system takes all locks of a process from a file when it closes
   * one descriptor of it.
   */
  letGo(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  /** Sees which files lie beside the log. Call it when the log is open. */
  seeCompanions(): void {
    this.#companions = new Map(
      companions.map((end) => [this.#realPath + end, identityOf(this.#realPath + end)]),
    );
  }

  /** Whether the name still means this file. */
  get isInPlace(): boolean {
    return identityOf(this.#path) === this.#identity;
  }

  /** Whether somebody has made the file shorter. What SQLite has in memory hides that until it is closed. */
  get isCut(): boolean {
    return this.#descriptor !== undefined && hasAllPages(this.#descriptor, this.#wal) !== true;
  }

  /** @throws {SpillwayError} `sink_failed` if the name means another file, or none. */
  expectNamed(): void {
    if (this.isInPlace) return;
    const where = this.isCut
      ? `It had been cut before; what its "-wal" has is kept beside it, with ".cut-" and a time behind its name`
      : 'What was kept is in the file that had this name';
    throw new SpillwayError(
      'sink_failed',
      `${this.#path} was moved, replaced or removed while it was written to. ${where}; the next write begins another one.`,
    );
  }

  /** @throws {SpillwayError} `sink_failed` if the name means another file, or none, or if the file was cut. */
  expectInPlace(): void {
    this.expectNamed();
    if (this.isCut) throw this.#cut();
  }

  /**
   * Sees that SQLite may open the file: it would write the pages of its write-ahead log into one that was cut, and nobody would
   * see any more that others are missing.
   *
   * @throws {SpillwayError} `sink_failed` if it was cut.
   */
  expectWhole(): void {
    if (this.#descriptor === undefined || sizeOf(this.#wal) === 0) return;
    if (hasAllPages(this.#descriptor, this.#wal) === false) throw this.#cut();
  }

  /**
   * Lets SQLite close a file that was cut, and leaves it as it is: SQLite would write the pages of the write-ahead log into it,
   * and with the first page it would look whole.
   */
  closeCut(close: () => void): void {
    const copy = `${this.#wal}.copy`;
    const size = sizeOf(this.#realPath);
    copyFileSync(this.#wal, copy);
    close();
    // Another process has it open still.
    if (existsSync(this.#wal)) return unlinkSync(copy);
    truncateSync(this.#realPath, size);
    renameSync(copy, this.#wal);
  }

  /**
   * Frees the name for another log, when this one has lost it and its write-ahead log is empty: what still lies beside the
   * name would be taken for the new one's. The write-ahead log of a file that was cut is all that is whole of it: it is renamed.
   */
  freeName(): void {
    const { isCut } = this;
    for (const [path, identity] of this.#companions) {
      if (identity === undefined || identityOf(path) !== identity) continue;
      if (isCut && path === this.#wal) renameSync(path, `${path}.cut-${timeOf(path)}`);
      else unlinkSync(path);
    }
  }

  get #wal(): string {
    return `${this.#realPath}-wal`;
  }

  #cut(): SpillwayError {
    return new SpillwayError(
      'sink_failed',
      `${this.#path} is damaged: somebody has cut it to ${sizeOf(this.#realPath)} bytes, as ": > file" or copytruncate do, and records in it are lost. Nothing is written to it any more. Move it away, with its "-wal": then another log begins.`,
    );
  }
}

/**
 * Sees that no write-ahead log waits for a log that is not there, or is empty: SQLite would throw it away, and with it what
 * was kept.
 *
 * @throws {SpillwayError} `sink_failed` if one does.
 */
export function expectNoOrphan(path: string): void {
  if (sizeOf(path) > 0) return;
  const orphan = `${path}-wal`;
  const bytes = sizeOf(orphan);
  if (bytes === 0) return;
  throw new SpillwayError(
    'sink_failed',
    existsSync(path)
      ? `${path} is empty, but ${orphan} has ${bytes} bytes of it: somebody has cut the log, as ": > file" or copytruncate do, and records in it are lost. Move both away: then another log begins.`
      : `${path} is not there, but ${orphan} has ${bytes} bytes of it: the log was moved or removed without it. Move the log back, or give ${orphan} the name that the log has now, with "-wal" behind it.`,
  );
}

/** The bytes of a file; 0: there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** When a file was written last, as a part of a name. */
function timeOf(path: string): string {
  return statSync(path).mtime.toISOString().replaceAll(':', '-');
}

/** `undefined`: there is none, or nobody can tell. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}
