import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import type { Command } from './spawn.ts';

/** A mount of a test's own: only the program that the prefix starts, and its children, see it. */
export function ownMount(context: TestContext, mount: string): readonly string[] {
  const prefix = ['unshare', '-m', 'sh', '-c', `${mount} && exec "$@"`, 'sh'];
  const [program = '', ...args] = prefix;
  const isThere = spawnSync(program, [...args, 'true']).status === 0;
  needs(context, isThere, 'the right to mount something in a namespace');
  return prefix;
}

/** A disk of that size in a folder, as `512k`, with a file `filler` that takes a part of it. */
export function smallDisk(
  context: TestContext,
  folder: string,
  size: string,
  fillerKilobytes = 0,
): readonly string[] {
  const filler = fillerKilobytes > 0 ? ` && head -c ${fillerKilobytes}k /dev/zero >'${folder}/filler'` : '';
  return ownMount(context, `mount -t tmpfs -o size=${size} none '${folder}'${filler}`);
}

/** A folder as a program sees it that has a mount of its own. */
export function inside({ process: { pid } }: Command, folder: string): string {
  return join(`/proc/${pid}/root`, folder);
}
