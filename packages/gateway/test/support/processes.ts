import { readFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { type Reader, upstreamFor } from './readers.ts';
import { type Command, printed, type SpawnOptions, spawnSpillway } from './spawn.ts';

export { eventually } from './spawn.ts';

/** Starts a command; it is ended with the test, if it still runs. */
export function run(args: readonly string[], options?: SpawnOptions): Command {
  const command = spawnSpillway(args, options);
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

/** A running gateway or simulator. */
export interface Running extends Command {
  readonly url: string;
}

export interface RunningGateway extends Running {
  readonly adminUrl: string;
}

export async function startSimulator(args: readonly string[] = []): Promise<Running> {
  const command = run(['simulate', '--port', '0', ...args]);
  return withUrls(command, { url: await printed(command, /Simulated provider on (\S+)\/v1/) });
}

export async function startGateway(
  args: readonly string[] = [],
  options?: SpawnOptions,
): Promise<RunningGateway> {
  const command = run(['serve', '--port', '0', '--admin-port', '0', ...args], options);
  const url = await printed(command, /Spillway on (\S+)/);
  return withUrls(command, { url, adminUrl: await printed(command, /metrics (\S+)\/metrics/) });
}

/** A simulator and a gateway in front of it, with all its APIs, whose replies one or the other reads. */
export async function startBoth(
  args: readonly string[] = [],
  options?: SpawnOptions,
  reader: Reader = 'built-in',
): Promise<{ gateway: RunningGateway; simulator: Running }> {
  const simulator = await startSimulator();
  const { url } = simulator;
  const upstreams = `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`;
  const gateway = await startGateway(['--upstream', upstreamFor(reader, upstreams), ...args], options);
  return { gateway, simulator };
}

/** What a process has in physical memory. */
export function residentBytes({ process: { pid } }: Running): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Looks at it often until the test is over, however busy the process is; returns the most that it had. */
export function watchMemory(running: Running): () => number {
  let most = residentBytes(running);
  const watch = setInterval(() => (most = Math.max(most, residentBytes(running))), 10);
  onTestFinished(() => clearInterval(watch));
  return () => most;
}
