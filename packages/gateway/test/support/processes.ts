import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** A `spillway` command in a process of its own. */
export interface Command {
  readonly process: ChildProcess;
  /** Everything that it printed so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the exit code. */
  readonly exited: Promise<number | null>;
}

export interface RunOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** Starts a command from source; it is ended with the test, if it still runs. */
export function run(args: readonly string[], { env = {}, cwd }: RunOptions = {}): Command {
  const child = spawn(process.execPath, ['--conditions=spillway-source', main, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return { process: child, stdout: () => stdout, stderr: () => stderr, exited };
}

/** A running gateway or simulator. */
export interface Running extends Command {
  readonly url: string;
}

export interface RunningGateway extends Running {
  readonly adminUrl: string;
}

export async function startSimulator(args: readonly string[] = []): Promise<Running> {
  const command = run(['simulate', '--port', '0', ...args]);
  return { ...command, url: await printed(command, /Simulated provider on (\S+)\/v1/) };
}

export async function startGateway(
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<RunningGateway> {
  const command = run(['serve', '--port', '0', '--admin-port', '0', ...args], options);
  const url = await printed(command, /Spillway on (\S+)/);
  return { ...command, url, adminUrl: await printed(command, /metrics (\S+)\/metrics/) };
}

/** A simulator and a gateway in front of it. */
export async function startBoth(
  args: readonly string[] = [],
): Promise<{ gateway: RunningGateway; simulator: Running }> {
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`, ...args]);
  return { gateway, simulator };
}

async function printed(command: Command, pattern: RegExp): Promise<string> {
  const found = await eventually(async () => {
    const match = pattern.exec(command.stdout())?.[1];
    if (match === undefined && command.process.exitCode !== null) {
      throw new Error(`it exited with ${command.process.exitCode}: ${command.stderr()}`);
    }
    return match;
  }, `${pattern.source} to be printed`);
  return found;
}

/**
 * Waits until a check gives something else than `undefined` or `false`. The deadline is far beyond
 * what it needs: it ends a hang, and times nothing.
 */
export async function eventually<T>(
  check: () => Promise<T | false | undefined> | T | false | undefined,
  what: string,
  deadlineMs = Number(process.env['TEST_DEADLINE_MS'] ?? 30_000),
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > endMs) throw new Error(`waited ${deadlineMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
