import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitStore } from '@spillway/core';
import type { LimitEngine } from '@spillway/core/testing';
import { openRedisLimits, type RedisLimits } from '@spillway/redis';
import { until } from '../../../core/test/support/until.ts';
import { type RedisServer } from './redis-server.ts';

/** A Redis as the checks of limits need it: its clock is moved, it is killed, and it is stopped. */
export class RedisLimitEngine implements LimitEngine {
  readonly maxPassMs: number;
  // Not the default: a machine that is busy is slow, and is no engine that fails.
  readonly callDeadlineMs = 2000;
  readonly #server: RedisServer;
  readonly #stores: RedisLimits[] = [];
  #isKilled = false;

  constructor(server: RedisServer) {
    this.#server = server;
    this.maxPassMs = server.clock.isMovable ? Infinity : 5000;
  }

  open(): LimitStore {
    const store = openRedisLimits({ url: this.#server.url, deadlineMs: this.callDeadlineMs });
    this.#stores.push(store);
    return store;
  }

  async pass(ms: number): Promise<void> {
    if (this.#server.clock.isMovable) this.#server.clock.move(ms);
    else await sleep(ms);
  }

  dateMs(): Promise<number> {
    return this.#server.dateMs();
  }

  async fail(): Promise<void> {
    this.#isKilled = true;
    await this.#server.kill();
  }

  hang(): void {
    this.#server.stop();
  }

  async heal(): Promise<void> {
    if (this.#isKilled) await this.#server.start();
    this.#isKilled = false;
    this.#server.continue();
    await until(() => this.#stores.every(({ problem }) => problem === undefined), 'all stores are connected');
  }

  async keptCount(): Promise<number> {
    const keys = (await this.#server.command('KEYS', '*')) as readonly string[];
    return keys.length;
  }

  async remove(): Promise<void> {
    await this.#server.command('FLUSHALL');
  }
}
