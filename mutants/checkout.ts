import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';

/**
 * The checkout with its own copy of the workspace's packages and everybody else's linked. Each file is as old as it was, so
 * that one that is changed then is newer than what was built of it: a disk's clock may stand still for as long as a copy takes.
 */
export function copyCheckout(root: string, folder: string): void {
  const options = { cwd: root, encoding: 'utf8' } as const;
  const asOld = { recursive: true, preserveTimestamps: true };
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], options);
  // A file that is deleted and not committed is still listed.
  for (const file of files.split('\n').filter((name) => name !== '' && existsSync(join(root, name)))) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(root, file), join(folder, file), asOld);
  }
  const own = new Map([
    ['spillway', 'packages/gateway'],
    ['@spillway', undefined],
  ]);
  // The console's page is built: git does not know it.
  const page = 'packages/gateway/dist/page';
  if (existsSync(join(root, page))) cpSync(join(root, page), join(folder, page), asOld);
  mkdirSync(join(folder, 'node_modules/@spillway'), { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!own.has(name)) symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  // A package has its own version of what another one has, too.
  for (const installed of globSync('{packages/*,console}/node_modules', { cwd: root })) {
    symlinkSync(join(root, installed), join(folder, installed));
  }
  symlinkSync(join(folder, 'packages/core'), join(folder, 'node_modules/@spillway/core'));
  symlinkSync(join(folder, 'packages/client'), join(folder, 'node_modules/@spillway/client'));
  symlinkSync(join(folder, 'packages/server'), join(folder, 'node_modules/@spillway/server'));
  symlinkSync(join(folder, 'packages/voice'), join(folder, 'node_modules/@spillway/voice'));
  symlinkSync(join(folder, 'packages/redis'), join(folder, 'node_modules/@spillway/redis'));
  symlinkSync(join(folder, 'packages/nats'), join(folder, 'node_modules/@spillway/nats'));
  symlinkSync(join(folder, 'packages/kafka'), join(folder, 'node_modules/@spillway/kafka'));
  symlinkSync(join(folder, 'packages/postgres'), join(folder, 'node_modules/@spillway/postgres'));
  symlinkSync(join(folder, 'packages/aws'), join(folder, 'node_modules/@spillway/aws'));
  symlinkSync(join(folder, 'packages/gateway'), join(folder, 'node_modules/spillway'));
}

/** Why a file cannot be loaded at all: every test would notice that, for nothing. */
export function syntaxError(path: string): string | undefined {
  const plain = join(dirname(path), 'syntax-check.mjs');
  try {
    writeFileSync(plain, stripTypeScriptTypes(readFileSync(path, 'utf8')));
  } catch (error) {
    return String(error);
  }
  const { status, stderr } = spawnSync(process.execPath, ['--check', plain], { encoding: 'utf8' });
  return status === 0 ? undefined : stderr;
}
