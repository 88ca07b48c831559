import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders: string[] = [];
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder for a program's files, which goes with this process. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-'));
  folders.push(folder);
  return folder;
}
