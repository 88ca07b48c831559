import { type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { SpillwayError } from '@spillway/core';

/**
 * Sees that a path names a file, or nothing in a folder that is there. It is asked before the path is opened: a pipe would
 * wait for whoever is at its other end.
 *
 * @throws {SpillwayError} `invalid_option` for something else, which says what; `sink_failed` while the folder is not there: it
 * may come.
 */
export function expectFileOrNothing(path: string): void {
  const found = statOf(path);
  if (found?.isFile() === true) return;
  if (found !== undefined)
    throw new SpillwayError('invalid_option', `${path}: expected a file or nothing, got ${kindOf(found)}.`);
  const folder = dirname(resolve(path));
  const above = statOf(folder);
  if (above?.isDirectory() !== true)
    throw new SpillwayError(
      above === undefined ? 'sink_failed' : 'invalid_option',
      `${path}: expected its folder ${folder} to be there, got ${above === undefined ? 'nothing' : kindOf(above)}.`,
    );
}

/** What lies at a path, in words. */
export function kindOf(found: Stats): string {
  if (found.isFile()) return 'a file';
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe';
  if (found.isSocket()) return 'a socket';
  return 'a device';
}

/** `undefined`: there is nothing, or nobody may look. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
