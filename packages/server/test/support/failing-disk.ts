import { type FileHandle, open } from 'node:fs/promises';
import { onTestFinished, vi } from 'vitest';

/** What the disk does to every file that this process writes, until it is healed. */
type Mood = 'failing' | 'silent' | 'well';

/** A disk that fails when a test says so: below the promises of `node:fs`, so that a file has what a real one would have. */
export class FailingDisk {
  #mood: Mood = 'well';
  #whenHealed = Promise.withResolvers<void>();
  #writes = 0;

  /** Stands before the disk until the end of the test. */
  static async install(): Promise<FailingDisk> {
    const disk = new FailingDisk();
    await using probe = await open('/dev/null', 'w');
    const methods = Object.getPrototypeOf(probe) as FileHandle;
    const original = (name: 'datasync' | 'sync' | 'write') =>
      Reflect.get(methods, name) as (this: FileHandle, ...args: unknown[]) => Promise<never>;
    const [datasync, sync, write] = [original('datasync'), original('sync'), original('write')];
    const spies = [
      vi.spyOn(methods, 'datasync').mockImplementation(async function (this: FileHandle) {
        await disk.#pass();
        await datasync.call(this);
      }),
      vi.spyOn(methods, 'sync').mockImplementation(async function (this: FileHandle) {
        await disk.#pass();
        await sync.call(this);
      }),
      vi.spyOn(methods, 'write').mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
        const [bytes, from, length, position] = args as [Buffer, number, number, number];
        const isHalf = disk.#mood === 'failing' && (disk.#writes += 1) % 2 === 0;
        // A full disk takes what fits.
        const result = await write.call(this, bytes, from, isHalf ? length >> 1 : length, position);
        if (isHalf) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        return result;
      }),
    ];
    onTestFinished(() => {
      for (const spy of spies) spy.mockRestore();
    });
    return disk;
  }

  fail(): void {
    this.#mood = 'failing';
  }

  hang(): void {
    this.#mood = 'silent';
  }

  heal(): void {
    this.#mood = 'well';
    this.#whenHealed.resolve();
    this.#whenHealed = Promise.withResolvers();
  }

  async #pass(): Promise<void> {
    if (this.#mood === 'silent') await this.#whenHealed.promise;
    if (this.#mood === 'failing') throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
  }
}
