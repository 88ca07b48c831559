import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { exitCodes } from '../src/cli/exit-codes.ts';
import { run, startGateway } from './support/processes.ts';
import { type Command, spawnProgram } from './support/spawn.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const bin = join(root, 'packages/gateway/bin/spillway.js');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const { engines } = JSON.parse(read('packages/gateway/package.json')) as { engines: { node: string } };
/** With a pipe that nobody writes to. */
const folder = mkdtempSync(join(tmpdir(), 'spillway-command-'));
const pipe = join(folder, 'pipe');
beforeAll(() => void execFileSync('mkfifo', [pipe]));
afterAll(() => rmSync(folder, { recursive: true }));
const needed = engines.node.replace('>=', '');

function started(command: readonly string[]): Command {
  const child = spawnProgram(command);
  onTestFinished(async () => {
    child.process.kill('SIGKILL');
    await child.exited;
  });
  return child;
}

/** The Nodes of this machine that are too old, by their paths. */
function oldNodes(): string[] {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((path) => join(path, 'node'));
  return [...new Set(candidates)].filter((path) => {
    try {
      const version = execFileSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
      return version.localeCompare(needed, 'en', { numeric: true }) < 0;
    } catch {
      // There is no Node at that path.
      return false;
    }
  });
}

describe('a Node that is too old', () => {
  const sentence = (version: string): string =>
    `spillway: expected Node ${needed} or later, got Node ${version}`;

  test.skipIf(oldNodes().length === 0)('is refused by a real one, in one sentence', async () => {
    for (const node of oldNodes()) {
      const command = started([node, bin, 'serve']);
      expect(await command.exited).toBe(exitCodes.unavailable);
      expect(command.stderr()).toMatch(sentence(''));
      expect(command.stderr()).toMatch(/^spillway: .*\n$/);
      expect(command.stdout()).toBe('');
    }
  });

  /** Runs the program by this test's own Node, which says that it is another version. */
  const pretending = (version: string): Command => {
    const versions = `{ ...process.versions, node: '${version}' }`;
    const code = `Object.defineProperty(process, 'versions', { value: ${versions} })`;
    return started([process.execPath, '--import', `data:text/javascript,${code}`, bin, '--version']);
  };

  test.each(['0.10.48', '10.24.1', '20.20.2', '22.18.99', '22.9.0'])('%s', async (version) => {
    const command = pretending(version);
    expect(await command.exited).toBe(exitCodes.unavailable);
    expect(command.stderr()).toContain(sentence(version));
  });

  // The file that is loaded then exists only after a build: that it is asked for is enough.
  test.each(['22.19.0', '22.100.0', '23.0.0', '26.1.0', '100.0.0'])('%s is none', async (version) => {
    const command = pretending(version);
    await command.exited;
    expect(command.stderr()).not.toContain('expected Node');
  });

  test('is refused by a file that it can read', () => {
    const text = read('packages/gateway/bin/spillway.js').replaceAll(/^ *\/\/.*$/gm, '');
    expect(text).not.toMatch(
      /^\s*(?:import|export)\s|\b(?:const|let|await|require)\b|=>|`|\?\.|\?\?|,\s*\)/m,
    );
    expect(text).toContain(`[${needed.replace('.', ', ')}]`);
  });
});

describe('the exit code says', () => {
  test.each([
    ['no command', []],
    ['an unknown command', ['bogus']],
    ['an unknown option', ['serve', '--bogus']],
    ['an option without its value', ['serve', '--port']],
    ['an argument too many', ['serve', 'extra']],
    ['a port that is none, of a command without a configuration', ['simulate', '--port', 'x']],
  ])('that the command line is wrong: %s', async (_what, args) => {
    const command = run(args);
    expect(await command.exited).toBe(exitCodes.usage);
    expect(command.stderr()).not.toBe('');
    expect(command.stderr()).not.toContain('    at ');
  });

  test.each([
    ['a value', ['--window-bytes', 'many']],
    ['a file that is missing', ['--config', '/nonexistent.yaml']],
    ['a provider without a scheme', ['--upstream', '127.0.0.1:11434/v1']],
    ['a provider that is a word', ['--upstream', 'foo']],
    ['a key that is no variable', ['--upstream', 'url=http://127.0.0.1:9/v1,apiKeyEnv=constructor']],
    ['a pipe that nobody writes to', ['--config', pipe]],
    ['a folder', ['--config', folder]],
    ['a pipe of keys', ['--api-keys-file', pipe]],
    ['a pipe with the key of a provider', ['--upstream', `url=http://127.0.0.1:9/v1,apiKeyFile=${pipe}`]],
    ['a pipe of authorities', ['--upstream', `url=https://127.0.0.1:9/v1,caFile=${pipe}`]],
    // An address of TEST-NET-1 (RFC 5737) belongs to no machine.
    ['an address of another machine', ['--host', '192.0.2.1', '--port', '0']],
  ])('that the configuration is wrong: %s', async (_what, args) => {
    const command = run(['serve', ...args], { env: { SPILLWAY_API_KEYS: 'a', OPENAI_API_KEY: 'b' } });
    expect(await command.exited).toBe(exitCodes.config);
    expect(command.stderr()).toMatch(/^spillway: /);
    expect(command.stderr()).not.toContain('    at ');
  });

  test('that a signal ended it in order', async () => {
    const gateway = await startGateway();
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(exitCodes.done);
  });

  test.each([['--version'], ['--help'], ['help'], ['serve', '--help']])(
    'that all was done: %s',
    async (...args) => {
      const command = run(args);
      expect(await command.exited).toBe(exitCodes.done);
      expect(command.stderr()).toBe('');
    },
  );

  test('the same on the page about operating', () => {
    const [, section = ''] = /## Exit codes\n(.*?)\n## /s.exec(read('docs/operating.md')) ?? [];
    const listed = [...section.matchAll(/^\| (\d+) \| /gm)].map(([, code]) => Number(code));
    expect(listed).toEqual(Object.values(exitCodes));
  });
});
