/**
 * Packs every package as it would be published and checks it: entry points that resolve (publint),
 * types that every module resolution finds (attw), and a gateway that runs from the packed files on the
 * oldest Node that is supported, and stops: see {@link checkPackedStreams} and {@link checkPackedStop}.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkContainer } from './container.ts';
import { checkPackedStop, checkPackedStreams } from './packed-streams.ts';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'spillway-pack-'));
const run = (command: string, args: readonly string[], cwd = root): void => {
  execFileSync(command, args, { cwd, stdio: 'inherit' });
};

try {
  run('npx', ['tsc', '-b']);
  for (const name of [
    'core',
    'client',
    'server',
    'voice',
    'redis',
    'nats',
    'kafka',
    'postgres',
    'aws',
    'gateway',
  ]) {
    run('npx', ['publint', '--strict', `packages/${name}`]);
    run('npm', ['pack', '--silent', '--pack-destination', folder, '--workspace', `packages/${name}`]);
  }
  const tarballs = readdirSync(folder).map((file) => join(folder, file));
  // One at a time: it knows only the first.
  for (const library of tarballs.filter((file) =>
    /spillway-(?:core|client|server|voice|redis|nats|kafka|postgres|aws)-/.test(file),
  )) {
    run('npx', ['attw', library, '--profile', 'esm-only']);
  }
  run('npm', ['init', '--yes', '--silent'], folder);
  run('npm', ['install', '--silent', '--prefer-offline', 'node@22.19.0', ...tarballs], folder);
  // The first in the path for what npx starts: the Node that was just installed.
  run('npx', ['node', '--version'], folder);
  run('npx', ['spillway', '--version'], folder);
  const newer = join(folder, 'newer');
  mkdirSync(newer);
  run('npm', ['init', '--yes', '--silent'], newer);
  run('npm', ['install', '--silent', '--prefer-offline', 'node@22.23.0'], newer);
  const installed = {
    folder,
    oldestNode: join(folder, 'node_modules/.bin/node'),
    oldestHttp2Node: join(newer, 'node_modules/.bin/node'),
  };
  await checkPackedStreams(installed);
  await checkPackedStop(installed);
  await checkContainer(installed);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
