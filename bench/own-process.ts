import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Runs a program in a process that does nothing else, and returns the number that it prints. */
export async function numberFrom(
  program: URL,
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): Promise<number> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--conditions=spillway-source', ...nodeArgs, fileURLToPath(program), ...args],
    { env: {} },
  );
  return Number(stdout);
}
