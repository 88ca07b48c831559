import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A file of keys, for as long as the test runs. Returns its path. */
export function keysFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'keys');
  writeFileSync(path, text);
  return path;
}
