import type { SinkEngine } from '@spillway/core/testing';
import { afterAll, beforeAll } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import { RedisProxy } from './redis-proxy.ts';
import { hasRedis, RedisServer } from './redis-server.ts';

type Failures = Pick<SinkEngine, 'fail' | 'hang' | 'heal' | 'openCount'>;

/** The Redis of one file of tests, if this machine has one, and the ways in which it fails. */
export class FailingRedis {
  #server: RedisServer | undefined;
  #proxy: RedisProxy | undefined;

  constructor() {
    beforeAll(async () => {
      if (!hasRedis) return;
      // Each change is on the disk before its answer, so that a kill loses nothing that was answered.
      this.#server = await RedisServer.start(['--appendonly', 'yes', '--appendfsync', 'always']);
      this.#proxy = await RedisProxy.start(this.#server.port);
    });
    afterAll(async () => {
      await this.#proxy?.remove();
      await this.#server?.remove();
    });
  }

  get server(): RedisServer {
    if (this.#server === undefined) throw new Error('expected a Redis that runs');
    return this.#server;
  }

  /** It fails when connections are cut, and is silent when they are held: those by way of `url`. */
  cutOff(): Failures & { readonly url: string } {
    const proxy = this.#proxy;
    if (proxy === undefined) throw new Error('expected a Redis that runs');
    return {
      url: `redis://127.0.0.1:${proxy.port}`,
      fail: () => proxy.fail(),
      hang: () => proxy.hang(),
      heal: () => proxy.heal(),
      async openCount() {
        await until(() => proxy.count === 0, 'no connection').catch(() => undefined);
        return proxy.count;
      },
    };
  }

  /** It fails when it is killed, and is silent when it is stopped. */
  async killed(): Promise<Failures & { readonly url: string }> {
    const { server } = this;
    const heal = async (): Promise<void> => {
      server.continue();
      if (!server.isRunning) await server.start();
    };
    // A check that was ended by its deadline may have left it so.
    await heal();
    return { url: server.url, fail: () => server.kill(), hang: () => server.stop(), heal };
  }
}
