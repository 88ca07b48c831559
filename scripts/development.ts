/**
 * Installs what developing needs beside what running needs, if it is not there: `.npmrc` leaves it out, so that
 * `npm install && npm start` brings a gateway and nothing else. Runs before `npm test` and
 * other scripts of `package.json` that need it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

if (!existsSync(join(root, 'node_modules/vitest'))) {
  console.log('What tests and tools need is not installed yet: npm install --include=dev');
  execFileSync('npm', ['install', '--include=dev'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
}
