import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { within } from '../../../core/test/support/within.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** Hundreds of times the same program: compiled once, it is there in half the time. */
export const compileCache = fileURLToPath(
  new URL('../../../../node_modules/.cache/compiled', import.meta.url),
);

/** A program in a process of its own. */
export interface Command {
  readonly process: ChildProcess;
  /** Everything that it printed so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the exit code; looked at when it has to end, for it rejects when that takes too long. */
  readonly exited: Promise<number | null>;
}

export interface SpawnOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Node's own arguments, before the program. */
  readonly nodeArgs?: readonly string[];
  /** Whether it leads a process group of its own, which then can be ended as a whole. */
  readonly isGroup?: boolean;
  /** A command that runs the program, such as `taskset -c 0`. */
  readonly prefix?: readonly string[];
}

/** Starts a program, given with its arguments. */
export function spawnProgram(
  [program = '', ...args]: readonly string[],
  { env = {}, cwd, isGroup = false }: Pick<SpawnOptions, 'cwd' | 'env' | 'isGroup'> = {},
): Command {
  const child = spawn(program, args, {
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: compileCache, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: isGroup,
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  return {
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    get exited() {
      return within(exit, 'the program to exit');
    },
  };
}

/** Starts a Node program from source. */
export function spawnNode(
  program: string,
  args: readonly string[],
  { nodeArgs = [], prefix = [], ...options }: SpawnOptions = {},
): Command {
  const node = [process.execPath, '--conditions=spillway-source', ...nodeArgs];
  return spawnProgram([...prefix, ...node, program, ...args], options);
}

/** Starts a `spillway` command from source. */
export function spawnSpillway(args: readonly string[], options?: SpawnOptions): Command {
  return spawnNode(main, args, options);
}

/**
 * Starts `spillway serve` from source with what it would give itself by a restart, so that Node starts once. The restart has
 * tests of its own.
 */
export function spawnGateway(
  args: readonly string[],
  { env, nodeArgs = [], ...options }: SpawnOptions = {},
): Command {
  return spawnSpillway(['serve', ...args], {
    ...options,
    nodeArgs: ['--max-semi-space-size=8', ...nodeArgs],
    env: { MALLOC_MMAP_THRESHOLD_: '1048576', ...env },
  });
}

/** Waits until a command has printed something, and returns the pattern's first group. */
export async function printed(command: Command, pattern: RegExp): Promise<string> {
  return await eventually(() => {
    const match = pattern.exec(command.stdout())?.[1];
    if (match === undefined && command.process.exitCode !== null) {
      throw new Error(`it exited with ${command.process.exitCode}: ${command.stderr()}`);
    }
    return match;
  }, `${pattern.source} to be printed`);
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
