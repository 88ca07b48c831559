import { readFile } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { BehaviourError } from './behaviour.ts';

/**
 * The payloads of a recorded stream.
 *
 * @throws {BehaviourError} when there is none of that name below the folder.
 */
export async function readRecording(name: string, folder: string | undefined): Promise<readonly string[]> {
  if (folder === undefined)
    throw new BehaviourError('replay: the simulator was started without --recordings');
  const root = resolve(folder);
  const path = resolve(root, `${name}.jsonl`);
  if (!path.startsWith(root + sep))
    throw new BehaviourError('replay: expected a path below the recordings folder');
  const text = await readFile(path, 'utf8').catch(() => {
    throw new BehaviourError(`replay: there is no recording ${JSON.stringify(name)}`);
  });
  return text.split('\n').filter((line) => line !== '');
}
