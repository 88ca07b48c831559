import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SpillwayError } from '@spillway/core';
import { syncFolder } from '../../audit/sync-folder.ts';

/**
 * A file that grows by appends, each whole and durable or not there. After an append that failed nothing is known of what
 * lies behind the acknowledged bytes, nor of the descriptor: the next one opens the file anew and cuts it first.
 */
export class AppendFile {
  readonly path: string;
  /** Which file it is, also when another one has its name. */
  readonly inode: number;
  #handle: FileHandle | undefined;
  #bytes: number;
  #isDirty = false;

  private constructor(path: string, handle: FileHandle, inode: number, bytes: number) {
    this.path = path;
    this.inode = inode;
    this.#handle = handle;
    this.#bytes = bytes;
  }

  /**
   * Opens a file, or makes an empty one with mode 0600, whose name is durable. `wholeBytes` reads it and says what of it
   * counts; the rest is cut off.
   */
  static async open(path: string, wholeBytes: (handle: FileHandle) => Promise<number>): Promise<AppendFile> {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      await syncFolder(dirname(path));
      const stats = await handle.stat();
      const { ino, size } = stats;
      if (!stats.isFile())
        throw new SpillwayError('sink_failed', `${path}: expected a file, got something else.`);
      const file = new AppendFile(path, handle, ino, await wholeBytes(handle));
      if (file.bytes < size) await file.#cut(handle);
      return file;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Where the acknowledged bytes end. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether an append has failed, or is under way. */
  get isDirty(): boolean {
    return this.#isDirty;
  }

  /** Whether the file has no name any more. Of one whose last append failed that is not known: `false`. */
  async isRemoved(): Promise<boolean> {
    return (await this.#handle?.stat())?.nlink === 0;
  }

  /** Appends bytes and syncs them. One at a time. */
  async append(bytes: Buffer): Promise<void> {
    const handle = await this.#clean();
    this.#isDirty = true;
    for (let from = 0; from < bytes.length;) {
      const at = this.#bytes + from;
      const { bytesWritten } = await handle.write(bytes, from, bytes.length - from, at);
      from += bytesWritten;
    }
    await handle.datasync();
    this.#isDirty = false;
    this.#bytes += bytes.length;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #clean(): Promise<FileHandle> {
    if (!this.#isDirty && this.#handle !== undefined) return this.#handle;
    await this.close();
    const handle = await open(this.path, 'r+');
    this.#handle = handle;
    await this.#cut(handle);
    this.#isDirty = false;
    return handle;
  }

  async #cut(handle: FileHandle): Promise<void> {
    await handle.truncate(this.#bytes);
    await handle.datasync();
  }
}
