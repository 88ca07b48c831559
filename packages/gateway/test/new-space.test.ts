import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Command, printed, type SpawnOptions, spawnSpillway } from './support/spawn.ts';

const serve = ['serve', '--port', '0', '--admin-port', '0', '--upstream', 'http://127.0.0.1:1/v1'];

/** A process that serves. */
async function started(options?: SpawnOptions): Promise<Command> {
  const command = spawnSpillway(serve, options);
  onTestFinished(async () => {
    command.process.kill();
    await command.exited;
  });
  await printed(command, /Spillway on (\S+)/);
  return command;
}

/** The command that a process runs, once it serves. */
async function commandOf(options?: SpawnOptions): Promise<readonly string[]> {
  return argumentsOf((await started(options)).process.pid);
}

function environmentOf(pid: number | undefined): readonly string[] {
  return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
}

function argumentsOf(pid: number | undefined): readonly string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
}

describe.skipIf(!existsSync('/proc/self/cmdline'))("a gateway's space for new objects", () => {
  test('is bounded, and the arguments stay', async () => {
    const [, ...args] = await commandOf();
    expect(args).toContain('--max-semi-space-size=8');
    expect(args).toContain('--conditions=spillway-source');
    expect(args.join(' ')).toContain(serve.join(' '));
  });

  test('begins with an allocator that gives large blocks back, unless somebody has chosen', async () => {
    const name = 'MALLOC_MMAP_THRESHOLD_';
    expect(environmentOf((await started()).process.pid)).toContain(`${name}=1048576`);
    expect(environmentOf((await started({ env: { [name]: '65536' } })).process.pid)).toContain(
      `${name}=65536`,
    );
  });

  test("is as somebody chose it, in Node's arguments or NODE_OPTIONS", async () => {
    const chosen = ['--max-semi-space-size=32', '--max_semi_space_size=32', '--semi-space-growth-factor=2'];
    for (const option of chosen) {
      expect(await commandOf({ nodeArgs: [option] })).not.toContain('--max-semi-space-size=8');
    }
    const byEnvironment = await commandOf({ env: { NODE_OPTIONS: '--max-semi-space-size=32' } });
    expect(byEnvironment).not.toContain('--max-semi-space-size=8');
  });

  test('is not bounded where a restart would lose the parent', async () => {
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const child = fork(main, serve, { execArgv: ['--conditions=spillway-source'], silent: true });
    onTestFinished(async () => {
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout
        ?.setEncoding('utf8')
        .on('data', (text: string) => text.includes('Spillway on') && resolve());
      child.once('exit', (code) => reject(new Error(`it exited with ${code}`)));
    });
    expect(child.connected).toBe(true);
    expect(argumentsOf(child.pid)).not.toContain('--max-semi-space-size=8');
  });
});
