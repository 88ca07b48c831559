import { systemClock, type Timer } from '@spillway/core/clock';
import type { ServerClock, ServerTimer } from './server-clock.ts';
import { Soon } from './soon.ts';

class NodeTimer implements ServerTimer {
  readonly #timer: NodeJS.Timeout;

  constructor(timer: NodeJS.Timeout) {
    this.#timer = timer;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  unref(): this {
    this.#timer.unref();
    return this;
  }
}

class NodeClock implements ServerClock {
  readonly #soon = new Soon(this);

  nowMs(): number {
    return performance.now();
  }

  dateMs(): number {
    return Date.now();
  }

  after(ms: number, callback: () => void): ServerTimer {
    return new NodeTimer(setTimeout(callback, ms));
  }

  every(ms: number, callback: () => void): Timer {
    return new NodeTimer(setInterval(callback, ms)).unref();
  }

  soon(ms: number, callback: () => void): void {
    this.#soon.call(ms, callback);
  }

  nextTurn(callback: () => void): void {
    setImmediate(callback);
  }

  nextTick<T>(callback: (argument: T) => void, argument: T): void {
    process.nextTick(callback, argument);
  }

  random(): number {
    return systemClock.random();
  }

  randomBytes(count: number): Uint8Array<ArrayBuffer> {
    return systemClock.randomBytes(count);
  }
}

/** Node's own time, turns and randomness. */
export const nodeClock: ServerClock = new NodeClock();
