import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import type { TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { freePort } from '../../../core/test/support/free-port.ts';
import { until } from '../../../core/test/support/until.ts';
import { stopProcess } from '../../../core/test/support/stop-process.ts';

/** Whether this machine has a NATS. */
export const hasNats = spawnSync('nats-server', ['--version']).status === 0;

/** Skips a test where this machine has no NATS; where `LACKS_FAIL` is set, that is a failure. */
export function needsNats(context: Pick<TestContext, 'skip'>): void {
  needs(context, hasNats, 'nats-server');
}

/** A real NATS of a test's own: a free port of loopback, and a folder. */
export class NatsServer {
  readonly port: number;
  readonly folder: string;
  readonly #options: readonly string[];
  readonly #how: NodeConnectionOptions;
  #process: ChildProcess | undefined;
  #client: NatsConnection | undefined;

  private constructor(port: number, folder: string, options: readonly string[], how: NodeConnectionOptions) {
    this.port = port;
    this.folder = folder;
    this.#options = options;
    this.#how = how;
  }

  /**
   * Starts one.
   *
   * @param config of its configuration file, as `authorization { token: x }`.
   * @param how tests themselves connect to it.
   */
  static async start(config = '', how: NodeConnectionOptions = {}): Promise<NatsServer> {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-nats-'));
    const file = join(folder, 'nats.conf');
    writeFileSync(file, config);
    const server = new NatsServer(await freePort(), folder, ['-js', '-c', file], how);
    await server.start();
    return server;
  }

  /** Starts a cluster of three, and waits until it has a leader. */
  static async startCluster(): Promise<NatsServer[]> {
    const routePorts = [await freePort(), await freePort(), await freePort()];
    const routes = routePorts.map((port) => `nats-route://127.0.0.1:${port}`);
    const servers: NatsServer[] = [];
    for (const [index, route] of routes.entries()) {
      const folder = mkdtempSync(join(tmpdir(), 'spillway-nats-'));
      const cluster = [
        '-n',
        `n${index}`,
        '--cluster_name',
        'C',
        '--cluster',
        route,
        '--routes',
        routes.join(','),
      ];
      servers.push(new NatsServer(await freePort(), folder, ['-js', ...cluster], {}));
    }
    await Promise.all(servers.map((server) => server.start()));
    await until(async () => {
      const answer = await servers[0]?.api('INFO').catch(() => undefined);
      return answer !== undefined && !('error' in answer);
    }, 'the cluster has a leader');
    return servers;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts it, or starts it again after a kill: with what it kept on the disk. */
  async start(): Promise<void> {
    const where = ['-a', '127.0.0.1', '-p', String(this.port), '-sd', this.folder];
    this.#process = spawn('nats-server', [...where, ...this.#options], { stdio: 'ignore' });
    try {
      await until(async () => {
        const client = await connect({
          ...this.#how,
          servers: `127.0.0.1:${this.port}`,
          reconnect: false,
        }).catch(() => undefined);
        await client?.close();
        return client !== undefined;
      }, 'NATS answers');
    } catch (error) {
      await this.remove();
      throw error;
    }
  }

  /** Removes what it has kept. It is killed. */
  forget(): void {
    rmSync(join(this.folder, 'jetstream'), { recursive: true });
  }

  async kill(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** It takes connections and bytes, and answers nothing. */
  stop(): void {
    if (this.#process?.pid !== undefined) stopProcess(this.#process.pid);
  }

  continue(): void {
    this.#process?.kill('SIGCONT');
  }

  /** The connection of the tests themselves. */
  async client(): Promise<NatsConnection> {
    if (this.#client === undefined || this.#client.isClosed())
      this.#client = await connect({ ...this.#how, servers: `127.0.0.1:${this.port}`, reconnect: false });
    return this.#client;
  }

  /** Calls JetStream. */
  async api(what: string, body: object = {}): Promise<Record<string, unknown>> {
    const client = await this.client();
    const answer = await client.request(`$JS.API.${what}`, JSON.stringify(body), { timeout: 5000 });
    return JSON.parse(answer.string()) as Record<string, unknown>;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
