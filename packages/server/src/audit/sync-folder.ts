import { open } from 'node:fs/promises';

/** Makes durable which names a folder has: the name of a file is on the disk only when its folder is. */
export async function syncFolder(path: string): Promise<void> {
  // Windows opens no folders.
  if (process.platform === 'win32') return;
  await using folder = await open(path, 'r');
  await folder.sync();
}
