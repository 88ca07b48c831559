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
/** A program of this repository. npx would take half a second to find each. */
const bin = (name: string): string => join(root, 'node_modules/.bin', name);
const run = (command: string, args: readonly string[], cwd = root): void => {
  execFileSync(command, args, { cwd, stdio: 'inherit' });
};

try {
  run(bin('tsc'), ['-b']);
  const packages = [
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
  ].map((name) => `packages/${name}`);
  for (const each of packages) run(bin('publint'), ['--strict', each]);
  const workspaces = packages.flatMap((each) => ['--workspace', each]);
  run('npm', ['pack', '--silent', '--pack-destination', folder, ...workspaces]);
  const tarballs = readdirSync(folder).map((file) => join(folder, file));
  // One at a time: it knows only the first.
  for (const library of tarballs.filter((file) =>
    /spillway-(?:core|client|server|voice|redis|nats|kafka|postgres|aws)-/.test(file),
  )) {
    run(bin('attw'), [library, '--profile', 'esm-only']);
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
