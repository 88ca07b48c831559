import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { SpillwayError } from '@spillway/core';

/**
 * A lock between programs. It is SQLite's on an empty file, because Node has none of its own: the system takes it back
 * when the program ends, however it does. The file stays.
 */
export class FileLock {
  readonly #database: DatabaseSync;

  /**
   * Takes the lock.
   *
   * @param what names in errors what is locked.
   * @throws {SpillwayError} `sink_failed` when another program has it, or this one.
   */
  constructor(path: string, what: string) {
    closeSync(openSync(path, 'a', 0o600));
    this.#database = new DatabaseSync(path);
    try {
      this.#database.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE');
    } catch (error) {
      this.#database.close();
      const message = `${what} is in use by another program or another tap: expected to be the only one. Give each its own.`;
      throw new SpillwayError('sink_failed', message, { cause: error });
    }
  }

  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
