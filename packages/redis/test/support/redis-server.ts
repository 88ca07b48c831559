import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, ErrorReply } from '@redis/client';
import type { TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { freePort } from '../../../core/test/support/free-port.ts';
import { until } from '../../../core/test/support/until.ts';
import { stopProcess } from '../../../core/test/support/stop-process.ts';
import { MovedClock } from './moved-clock.ts';

/** Whether this machine has a Redis. */
export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

/** Skips a test where this machine has no Redis; where `LACKS_FAIL` is set, that is a failure. */
export function needsRedis(context: Pick<TestContext, 'skip'>): void {
  needs(context, hasRedis, 'redis-server');
}

/** A real Redis of a test's own: a free port of loopback, a folder, and a clock that a test may move. */
export class RedisServer {
  readonly clock: MovedClock;
  readonly port: number;
  readonly folder: string;
  readonly #options: readonly string[];
  #process: ChildProcess | undefined;
  #isStopped = false;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'spillway-redis-'));
    mkdirSync(join(this.folder, 'clock'));
    this.clock = new MovedClock(join(this.folder, 'clock'));
  }

  /** Starts one. `options` are of the command line, as `['--appendonly', 'yes']`. */
  static async start(options: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options);
    await server.start();
    return server;
  }

  /** A sentinel that watches a master by the name `limits`. */
  static async startSentinel(
    masterPort: number,
    quorum: number,
    more: readonly string[] = [],
  ): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), ['--sentinel']);
    const lines = [
      `sentinel monitor limits 127.0.0.1 ${masterPort} ${quorum}`,
      'sentinel down-after-milliseconds limits 500',
      'sentinel failover-timeout limits 3000',
      ...more,
      '',
    ];
    writeFileSync(join(server.folder, 'redis.conf'), lines.join('\n'));
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it, or starts it again after a kill: with what it kept on the disk. */
  async start(): Promise<void> {
    const file = this.#options.includes('--sentinel') ? [join(this.folder, 'redis.conf')] : [];
    const bind = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder];
    const kept = this.#options.includes('--sentinel') ? [] : ['--save', ''];
    this.#process = spawn('redis-server', [...file, ...bind, ...kept, ...this.#options], {
      stdio: 'ignore',
      env: { ...process.env, ...this.clock.env },
    });
    try {
      await this.#answers();
    } catch (error) {
      await this.remove();
      throw error;
    }
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
    this.#isStopped = false;
  }

  /** It takes connections and bytes, and answers nothing. */
  stop(): void {
    this.#isStopped = true;
    if (this.#process?.pid !== undefined) stopProcess(this.#process.pid);
  }

  continue(): void {
    this.#isStopped = false;
    this.#process?.kill('SIGCONT');
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#isStopped;
  }

  /** Runs a command, on a connection of its own. */
  async command(...words: readonly string[]): Promise<unknown> {
    const client = createClient({
      socket: { host: '127.0.0.1', port: this.port, reconnectStrategy: false },
      RESP: 2,
      disableClientInfo: true,
      maintNotifications: 'disabled',
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.sendCommand(words);
    } finally {
      client.destroy();
    }
  }

  async dateMs(): Promise<number> {
    const [seconds, us] = (await this.command('TIME')) as readonly [string, string];
    return Number(seconds) * 1000 + Math.floor(Number(us) / 1000);
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #answers(): Promise<void> {
    const endMs = performance.now() + 20_000;
    for (;;) {
      try {
        // A sentinel does not know it, and who wants a password does not take it: both answer, and so does one that loads.
        await this.command('DBSIZE').catch((error: unknown) => {
          if (!(error instanceof ErrorReply) || error.message.startsWith('LOADING')) throw error;
        });
        if (this.#options.includes('--cluster-enabled')) await this.#bindSlots();
        return;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await sleep(20);
      }
    }
  }

  /** Makes it a cluster of one. */
  async #bindSlots(): Promise<void> {
    // It has them already when it starts again.
    await this.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383').catch(() => undefined);
    const isOk = async (): Promise<boolean> =>
      String(await this.command('CLUSTER', 'INFO')).includes('cluster_state:ok');
    await until(isOk, 'the cluster works');
  }
}
