import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  type Command,
  eventually,
  printed,
  type SpawnOptions,
  spawnNode,
  spawnSpillway,
} from '../packages/gateway/test/support/spawn.ts';
import type { RequestStats } from '../packages/gateway/src/simulate/stats.ts';

export { eventually } from '../packages/gateway/test/support/spawn.ts';

/** A program under test, listening. */
export interface Program {
  readonly url: string;
  readonly adminUrl: string | undefined;
  readonly command: Command;
}

const running: Command[] = [];

export async function startSimulator(args: readonly string[] = [], options?: SpawnOptions): Promise<Program> {
  const command = keep(spawnSpillway(['simulate', '--port', '0', ...args], options));
  return { command, url: await printed(command, /Simulated provider on (\S+)\/v1/), adminUrl: undefined };
}

/** `upstream`: the URL of its one provider, without `/v1`; `undefined`: `args` have them. */
export async function startGateway(
  upstream: string | undefined,
  args: readonly string[] = [],
  options?: SpawnOptions,
): Promise<Program> {
  const all = [
    'serve',
    '--port',
    '0',
    '--admin-port',
    '0',
    '--log-level',
    'silent',
    ...(upstream === undefined ? [] : ['--upstream', `${upstream}/v1`]),
  ];
  const command = keep(spawnSpillway([...all, ...args], options));
  const url = await printed(command, /Spillway on (\S+)/);
  return { command, url, adminUrl: await printed(command, /metrics (\S+)\/metrics/) };
}

/** The bare Node pipe that everything is compared with. */
export async function startPipe(
  upstream: string,
  options?: SpawnOptions,
  host = '127.0.0.1',
): Promise<Program> {
  const program = fileURLToPath(new URL('peers/node-pipe.ts', import.meta.url));
  return await listening(spawnNode(program, [upstream, host], options));
}

/** Waits until a program says where it listens. */
export async function listening(command: Command): Promise<Program> {
  keep(command);
  return { command, url: await printed(command, /listening on (\S+)/), adminUrl: undefined };
}

/** Waits until a program that says nothing can be connected to. */
export async function connectable({ command, url }: Pick<Program, 'command' | 'url'>): Promise<Program> {
  keep(command);
  const { hostname, port } = new URL(url);
  await eventually(async () => {
    if (command.process.exitCode !== null) throw new Error(`it exited: ${command.stderr()}`);
    const socket = connect({ host: hostname, port: Number(port) });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    return isOpen;
  }, `${url} to listen`);
  return { command, url, adminUrl: undefined };
}

/** Ends every program that was started. */
export async function stopAll(): Promise<void> {
  for (const { process: child } of running) child.kill('SIGKILL');
  await Promise.all(running.splice(0).map(({ exited }) => exited));
}

function keep(command: Command): Command {
  running.push(command);
  return command;
}

/** Bytes of memory that a program holds now. Linux. */
export function memoryOf({ command }: Program): number {
  const status = readFileSync(`/proc/${command.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

export async function statsOf(simulator: Program): Promise<readonly RequestStats[]> {
  return ((await (await fetch(`${simulator.url}/stats`)).json()) as { requests: RequestStats[] }).requests;
}

export async function metricOf({ adminUrl }: Program, series: string): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

/** One streaming request over a bare socket: the cheapest client there is. */
export interface Client {
  readonly socket: Socket;
  /** Resolves when the end marker has come, rejects when an error has. */
  readonly done: Promise<void>;
}

/** Opens a stream. A client that does not read never takes a byte from its socket. */
export async function openStream(url: string, model: string, reads = true): Promise<Client> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  const done = Promise.withResolvers<void>();
  const client: Client = { socket, done: done.promise };
  if (reads) {
    socket.on('data', (bytes: Buffer) => {
      if (bytes.includes('[DONE]')) done.resolve();
      else if (bytes.includes('"error"')) done.reject(new Error(`a stream failed: ${bytes.toString()}`));
    });
  } else {
    socket.pause();
  }
  const body = JSON.stringify({ model, stream: true, messages: [] });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  return client;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
