import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { type Reader, upstreamFor } from './readers.ts';
import { openSimulatorBeside, type RunningSimulator } from './simulators.ts';
import { type Command, printed, type SpawnOptions, spawnGateway, spawnSpillway } from './spawn.ts';

export { eventually } from './spawn.ts';

/** Starts a command; it is ended with the test, if it still runs. */
export function run(args: readonly string[], options?: SpawnOptions): Command {
  return endedWithTest(spawnSpillway(args, options));
}

function endedWithTest(command: Command): Command {
  onTestFinished(async () => {
    command.process.kill('SIGKILL');
    await command.exited;
  });
  return command;
}

/** A command with its URLs. A copy of `exited` would begin to wait for the exit now. */
function withUrls<Urls extends object>(command: Command, urls: Urls): Command & Urls {
  return Object.defineProperties(urls, Object.getOwnPropertyDescriptors(command)) as Command & Urls;
}

export interface RunningGateway extends Command {
  readonly url: string;
  readonly adminUrl: string;
}

/** Opens a simulated provider beside this process; it is closed with the test, if it still runs. */
export async function startSimulator(): Promise<RunningSimulator> {
  const simulator = await openSimulatorBeside();
  onTestFinished(() => simulator.close());
  return simulator;
}

export async function startGateway(
  args: readonly string[] = [],
  options?: SpawnOptions,
): Promise<RunningGateway> {
  return await whenReady(endedWithTest(spawnOnFreePorts(args, options)));
}

function spawnOnFreePorts(args: readonly string[], options?: SpawnOptions): Command {
  return spawnGateway(['--port', '0', '--admin-port', '0', ...args], options);
}

async function whenReady(command: Command): Promise<RunningGateway> {
  const url = await printed(command, /Spillway on (\S+)/);
  return withUrls(command, { url, adminUrl: await printed(command, /metrics (\S+)\/metrics/) });
}

/**
 * Starts one gateway for all tests of a file or of a `describe`, which leave nothing behind in it: a start costs more than most
 * tests. To be called where they are collected; what it returns gives the gateway to each of them.
 */
export function gatewayForAll(
  args: readonly string[] | (() => readonly string[]) = [],
  options?: SpawnOptions,
): () => RunningGateway {
  let command: Command | undefined;
  let gateway: RunningGateway | undefined;
  beforeAll(async () => {
    command = spawnOnFreePorts(typeof args === 'function' ? args() : args, options);
    gateway = await whenReady(command);
  });
  afterAll(async () => {
    command?.process.kill('SIGKILL');
    await command?.exited;
  });
  return () => {
    if (gateway === undefined)
      throw new Error('it is started before the tests, and not while they are collected');
    return gateway;
  };
}

/** A simulator and a gateway in front of it, with all its APIs, whose replies one or the other reads. */
export async function startBoth(
  args: readonly string[] = [],
  options?: SpawnOptions,
  reader: Reader = 'built-in',
): Promise<{ gateway: RunningGateway; simulator: RunningSimulator }> {
  const simulator = await startSimulator();
  const { url } = simulator;
  const upstreams = `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`;
  const gateway = await startGateway(['--upstream', upstreamFor(reader, upstreams), ...args], options);
  return { gateway, simulator };
}

/** What a process has in physical memory. */
export function residentBytes({ process: { pid } }: Command): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Looks at it often until the test is over, however busy the process is; returns the most that it had. */
export function watchMemory(running: Command): () => number {
  let most = residentBytes(running);
  const watch = setInterval(() => (most = Math.max(most, residentBytes(running))), 10);
  onTestFinished(() => clearInterval(watch));
  return () => most;
}
