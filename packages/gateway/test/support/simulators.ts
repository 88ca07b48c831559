import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { within } from '../../../core/test/support/within.ts';
import { compileCache } from './spawn.ts';

/** To close the simulator with this URL; `undefined`: to open one. */
export interface Asked {
  readonly id: number;
  readonly close?: string;
}

export interface Answered {
  readonly id: number;
  readonly url: string;
}

/** A simulated provider. */
export interface RunningSimulator {
  /** Without `/v1` and without a slash at the end. */
  readonly url: string;
  /** Ends it, and every connection that it has. */
  close(): Promise<void>;
}

const path = fileURLToPath(new URL('simulators-program.ts', import.meta.url));

/** The process that has all simulators of a test file: one for each would start Node for each of its tests. */
let program: ChildProcess | undefined;
let asked = 0;

/** Opens a simulated provider in a process beside this one. It ends with it at the latest. */
export async function openSimulatorBeside(): Promise<RunningSimulator> {
  const url = await ask({});
  return { url, close: async () => void (await ask({ close: url })) };
}

async function ask(what: Omit<Asked, 'id'>): Promise<string> {
  program ??= started();
  const child = program;
  asked += 1;
  const id = asked;
  const { promise, reject, resolve } = Promise.withResolvers<string>();
  const heard = (answer: Answered): void => {
    if (answer.id === id) resolve(answer.url);
  };
  const ended = (code: number | null): void => reject(new Error(`the simulators have exited with ${code}`));
  child
    .on('message', heard)
    .once('exit', ended)
    .send({ id, ...what });
  try {
    return await within(promise, 'a simulator to be opened or closed');
  } finally {
    child.off('message', heard).off('exit', ended);
  }
}

function started(): ChildProcess {
  const child = fork(path, {
    execArgv: ['--conditions=spillway-source'],
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: compileCache },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  // It ends when this process does, which does not wait for it.
  child.unref();
  child.channel?.unref();
  return child;
}
