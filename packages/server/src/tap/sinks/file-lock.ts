import { closeSync, openSync, statSync, unlinkSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { SpillwayError } from '@spillway/core';
import { expectFileOrNothing } from '../../audit/expect-file.ts';

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
   * @throws {SpillwayError} `sink_failed` when another program has it, or this one.
   */
  static async take(path: string, what: string): Promise<FileLock> {
    expectFileOrNothing(path);
    // SQLite is loaded only by who needs it: with older versions of Node it comes with a warning.
    const sqlite = await import('node:sqlite');
    for (;;) {
      closeSync(openSync(path, 'a', 0o600));
      const inode = inodeOf(path);
      const database = new sqlite.DatabaseSync(path);
      try {
        database.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE');
      } catch (error) {
        database.close();
        const message = `${what} is in use already, here or by another program: expected nobody else. Give each its own.`;
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

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
