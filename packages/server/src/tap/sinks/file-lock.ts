import { closeSync, openSync, statSync, unlinkSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { SpillwayError } from '@spillway/core';
import { expectFileOrNothing } from '../../audit/expect-file.ts';

const sqliteBusy = 5;

/**
 * A lock between programs. It is SQLite's on an empty file, because Node has none of its own: the system takes it back
 * when the program ends, however it does. Who releases it removes the file.
 */
export class FileLock {
  readonly #path: string;
  readonly #database: DatabaseSync;

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Takes the lock.
   *
   * @param what names in errors what is locked.
   * @throws {SpillwayError} `sink_failed` when another program has it, or this one, and when the file cannot be locked.
   */
  static async take(path: string, what: string): Promise<FileLock> {
    const lock = await FileLock.takeIfFree(path);
    if (lock !== undefined) return lock;
    const message = `${what} is in use already, here or by another program: expected nobody else. Give each its own.`;
    throw new SpillwayError('sink_failed', message);
  }

  /**
   * Takes the lock, if it is free. `undefined`: another program has it, or this one.
   *
   * @throws {SpillwayError} `sink_failed` when the file cannot be locked.
   */
  static async takeIfFree(path: string): Promise<FileLock | undefined> {
    expectFileOrNothing(path);
    // SQLite is loaded only by who needs it: with older versions of Node it comes with a warning.
    const sqlite = await import('node:sqlite');
    for (;;) {
      makeFile(path);
      const inode = inodeOf(path);
      let database: DatabaseSync | undefined;
      try {
        database = new sqlite.DatabaseSync(path);
        database.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE');
      } catch (error) {
        database?.close();
        if (isBusy(error)) return undefined;
        const reason = error instanceof Error ? error.message : String(error);
        const message = `${path}: expected an empty file that can be locked, got: ${reason}. Remove it if no program uses it.`;
        throw new SpillwayError('sink_failed', message, { cause: error });
      }
      // Who had it before may have removed the file meanwhile: the lock is on one that nobody else will find.
      if (inode !== undefined && inodeOf(path) === inode) return new FileLock(path, database);
      database.close();
    }
  }

  release(): void {
    if (!this.#database.isOpen) return;
    try {
      // While it is held: afterwards it may be another program's.
      unlinkSync(this.#path);
    } catch {
      // Its folder is gone, or must not be written any more. A file that stays is no lock.
    }
    this.#database.close();
  }
}

/** Opens no file that is there: to close it would take back the lock that this process may have on it. */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'ax', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** SQLite's own code is the last byte. */
function isBusy(error: unknown): boolean {
  return ((error as { readonly errcode?: number }).errcode ?? 0) % 256 === sqliteBusy;
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
