import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileLock } from '../src/tap/sinks/file-lock.ts';

const projectRoot = join(import.meta.dirname, '../../..');

/** Whether another process gets the lock. */
function isFreeForOthers(path: string): boolean {
  const program = `
    import { FileLock } from ${JSON.stringify(import.meta.resolve('../src/tap/sinks/file-lock.ts'))};
    const lock = await FileLock.takeIfFree(${JSON.stringify(path)});
    lock?.release();
    process.stdout.write(lock === undefined ? 'taken' : 'free');`;
  const args = ['--conditions=spillway-source', '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: projectRoot });
  expect(['free', 'taken'], stderr).toContain(stdout);
  return stdout === 'free';
}

test('a lock stays when its own process asks for it again, and is gone with its file when it is released', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-lock-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'lock');
  const lock = await FileLock.take(path, 'The file');
  await expect(FileLock.take(path, 'The file')).rejects.toThrow('The file is in use already');
  expect(await FileLock.takeIfFree(path)).toBeUndefined();
  expect(isFreeForOthers(path)).toBe(false);
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
  expect(isFreeForOthers(path)).toBe(true);
});
