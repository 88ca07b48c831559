import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { freePort } from '../../../core/test/support/free-port.ts';
import { stopProcess } from '../../../core/test/support/stop-process.ts';

/** Debian keeps the server's programs out of the way. */
const debian = '/usr/lib/postgresql';
const folders = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  ...(existsSync(debian) ? readdirSync(debian).map((version) => join(debian, version, 'bin')) : []),
];
const programs = folders.find((folder) =>
  ['initdb', 'pg_basebackup', 'postgres'].every((name) => existsSync(join(folder, name))),
);

/** Whether this machine has a PostgreSQL. */
export const hasPostgres = programs !== undefined;

/** Skips a test where this machine has no PostgreSQL; where `LACKS_FAIL` is set, that is a failure. */
export function needsPostgres(context: Pick<TestContext, 'skip'>): void {
  needs(context, hasPostgres, 'postgres, initdb and pg_basebackup');
}

/** PostgreSQL does not run as root: then it is nobody. */
const runner = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Gives a file or a folder to who runs the servers. */
export function give(path: string): void {
  if (runner.uid !== undefined) chownSync(path, runner.uid, runner.gid);
}

/** A real PostgreSQL of a test's own, on a free port of loopback, whose user `postgres` needs no password. */
export class PostgresServer {
  readonly port: number;
  readonly folder: string;
  readonly #options: readonly string[];
  readonly #smallDiskBytes: number;
  #process: ChildProcess | undefined;

  private constructor(port: number, options: readonly string[], smallDiskBytes = 0) {
    this.port = port;
    this.#options = options;
    this.#smallDiskBytes = smallDiskBytes;
    this.folder = mkdtempSync(join(tmpdir(), 'spillway-postgres-'));
    give(this.folder);
  }

  /** Starts one with settings, as `['fsync=off']`, and with a disk of that size in its folder `small`. */
  static async start(options: readonly string[] = [], smallDiskBytes = 0): Promise<PostgresServer> {
    const server = new PostgresServer(await freePort(), options, smallDiskBytes);
    try {
      run('cp', ['-r', emptyData(), server.data]);
      await server.start();
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  /** A standby of this one, with settings. */
  async startStandby(): Promise<PostgresServer> {
    const standby = new PostgresServer(await freePort(), this.#options);
    try {
      const from = ['--host=127.0.0.1', `--port=${this.port}`, '--username=postgres'];
      run(programPath('pg_basebackup'), [
        ...from,
        '--checkpoint=fast',
        '--no-sync',
        '--write-recovery-conf',
        `--pgdata=${standby.data}`,
      ]);
      await standby.start();
    } catch (error) {
      await standby.remove();
      throw error;
    }
    return standby;
  }

  get data(): string {
    return join(this.folder, 'data');
  }

  get smallDisk(): string {
    return join(this.folder, 'small');
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  /** Starts it, or starts it again after a kill. */
  async start(): Promise<void> {
    const own = [
      `port=${this.port}`,
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${this.folder}`,
      'max_wal_senders=2',
      'jit=off',
    ];
    const settings = [...own, ...this.#options].flatMap((setting) => ['-c', setting]);
    const command = [programPath('postgres'), '-D', this.data, ...settings];
    this.#process = this.#spawn(command);
    const endMs = performance.now() + 50_000;
    for (;;) {
      try {
        await this.sql('SELECT 1');
        return;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await sleep(10);
        // After a kill, what the last of its processes had in memory may not be gone yet.
        if (this.#process.exitCode !== null) this.#process = this.#spawn(command);
      }
    }
  }

  /** Kills the server with all its processes: nothing that is only in memory is left. */
  async kill(): Promise<void> {
    const server = this.#process;
    if (server === undefined || server.exitCode !== null) return;
    const exited = once(server, 'exit');
    // The first one first, or it would start the others again.
    for (const pid of this.#pids()) signal(pid, 'SIGKILL');
    await exited;
    this.#process = undefined;
  }

  /** It takes connections and bytes, and answers nothing. */
  stop(): void {
    for (const pid of this.#pids()) stopProcess(pid);
  }

  continue(): void {
    for (const pid of this.#pids()) signal(pid, 'SIGCONT');
  }

  /** Runs SQL on a connection of its own. */
  async sql(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]> {
    const client = await this.client();
    try {
      const { rows } = await client.query<Record<string, unknown>>(text, values && [...values]);
      return rows;
    } finally {
      await client.end();
    }
  }

  /** A connection that the test has to end. */
  async client(): Promise<Client> {
    const client = new Client({ connectionString: this.url, ssl: false });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawn(command: readonly string[]): ChildProcess {
    if (this.#smallDiskBytes === 0) {
      const [program = '', ...args] = command;
      return spawn(program, args, { stdio: 'ignore', ...runner });
    }
    // Only the server sees it.
    mkdirSync(this.smallDisk, { recursive: true });
    const { gid = 0, uid = 0 } = runner;
    const mount = `mount -t tmpfs -o size=${this.#smallDiskBytes},uid=${uid},gid=${gid},mode=700 none '${this.smallDisk}'`;
    const asRunner = `exec setpriv --reuid=${uid} --regid=${gid} --clear-groups "$@"`;
    return spawn('unshare', ['-m', 'sh', '-c', `${mount} && ${asRunner}`, 'sh', ...command], {
      stdio: 'ignore',
    });
  }

  #pids(): readonly number[] {
    return this.#process === undefined ? [] : [...pidsOf(this.#process), ...childrenOf(this.#process)];
  }
}

/** The folder with {@link emptyData}. */
let template: string | undefined;

/** Removes what servers were copied from: for the end of a file with tests. */
export function removeTemplate(): void {
  if (template !== undefined) rmSync(template, { recursive: true, force: true });
  template = undefined;
}

/** The data of a server that has none yet. To make it takes a second or more, and servers of one file have it in common. */
function emptyData(): string {
  if (template !== undefined) return join(template, 'data');
  const folder = mkdtempSync(join(tmpdir(), 'spillway-postgres-'));
  give(folder);
  const data = join(folder, 'data');
  const args = ['--username=postgres', '--auth=trust', '--no-sync', '--no-locale', '--encoding=UTF8'];
  run(programPath('initdb'), [...args, '--no-instructions', `--pgdata=${data}`]);
  template = folder;
  return data;
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/', ...runner });
}

function programPath(name: string): string {
  if (programs === undefined) throw new Error('expected a machine with PostgreSQL');
  return join(programs, name);
}

function pidsOf({ pid }: ChildProcess): readonly number[] {
  return pid === undefined ? [] : [pid];
}

function childrenOf({ pid }: ChildProcess): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text
      .split(' ')
      .filter((word) => word !== '')
      .map(Number);
  } catch {
    return [];
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
