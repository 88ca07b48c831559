import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for a program's files, which goes with this process. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
