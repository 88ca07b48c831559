import type { Clock, Timer } from '../clock.ts';

/** The start values of a {@link VirtualClock}. */
export interface VirtualClockOptions {
  /** The seed of all its randomness: a whole number from 0 to 2^32 − 1. Default: 1. */
  readonly seed?: number;
  /** The value of `dateMs` at the beginning, in milliseconds since 1970. Default: the first moment of 2026. */
  readonly startDateMs?: number;
}

/** A callback that was not called yet. */
interface Due {
  readonly atMs: number;
  /** The order of callbacks of the same moment: the smaller number is first. */
  readonly order: number;
  /** `undefined`: the callback was stopped. */
  callback: (() => void) | undefined;
}

/** Node's functions that browsers do not have. */
interface Host {
  readonly setImmediate?: (callback: () => void) => void;
  readonly process?: { readonly nextTick?: (callback: (argument: never) => void, argument: unknown) => void };
}

const host = globalThis as Host;

/**
 * A clock for tests: its time passes only while `advance` runs, as fast as the machine can, and the same seed makes the
 * same run. All callbacks of one moment, and the promises that follow from them, are done before the next moment comes.
 * The clock knows nothing of sockets, files and threads: waiting for those takes real time, in which this clock stands
 * still.
 *
 * @example
 * ```ts
 * const clock = new VirtualClock({ seed: 7 });
 * const channel = openChannel<string>({ maxItems: 10, replay: { maxAgeMs: 60_000 }, clock });
 * channel.offer('a word');
 * await clock.advance(60_001);
 * console.log(channel.oldestOffset); // 1: what grew old is gone
 * ```
 */
export class VirtualClock implements Clock {
  readonly #startDateMs: number;
  /** A heap: the callback at index i is due before those at 2i + 1 and 2i + 2. */
  readonly #due: Due[] = [];
  #order = 0;
  #nowMs = 0;
  #random: number;
  #isAdvancing = false;

  constructor({ seed = 1, startDateMs = Date.UTC(2026) }: VirtualClockOptions = {}) {
    this.#random = seed;
    this.#startDateMs = startDateMs;
  }

  /** Milliseconds since the clock was made, as far as it was advanced. */
  nowMs(): number {
    return this.#nowMs;
  }

  /** Milliseconds since 1970; passes as `nowMs` does. */
  dateMs(): number {
    return this.#startDateMs + this.#nowMs;
  }

  /** Calls back once, exactly when `ms` milliseconds have passed. */
  after(ms: number, callback: () => void): Timer & { unref(): Timer } {
    const due: Due = { atMs: this.#nowMs + Math.max(0, ms), order: (this.#order += 1), callback };
    this.#add(due);
    const timer = {
      stop: () => {
        due.callback = undefined;
      },
      // This clock never keeps a process alive.
      unref: () => timer,
    };
    return timer;
  }

  /** Calls back repeatedly, every `ms` milliseconds. At least 1. */
  every(ms: number, callback: () => void): Timer {
    let timer: Timer;
    const again = (): void => {
      timer = this.after(Math.max(1, ms), again);
      callback();
    };
    timer = this.after(Math.max(1, ms), again);
    return { stop: () => timer.stop() };
  }

  /** The same as `after`, because this clock never joins several callbacks. */
  soon(ms: number, callback: () => void): void {
    this.after(ms, callback);
  }

  /** Calls back at the present moment, after all callbacks that are due. */
  nextTurn(callback: () => void): void {
    this.after(0, callback);
  }

  /** Calls back after the code that runs now, as `process.nextTick` does. */
  nextTick<T>(callback: (argument: T) => void, argument: T): void {
    if (host.process?.nextTick !== undefined) host.process.nextTick(callback, argument);
    else queueMicrotask(() => callback(argument));
  }

  /** Returns a number from 0 to less than 1, from the seed. */
  random(): number {
    // Mulberry32 (Ettinger, 2017).
    this.#random = (this.#random + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns bytes from the seed. A program that knows the seed can guess them. */
  randomBytes(count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(count).map(() => this.random() * 256);
  }

  /**
   * Advances the time by `ms` milliseconds. Calls all callbacks that are due by then, in order, and waits after each
   * until nothing is left to do at its moment. Rejects with the error of a callback that throws; the time then stands
   * at that moment.
   */
  async advance(ms: number): Promise<void> {
    if (this.#isAdvancing) throw new Error('advance: one at a time, and not by a callback of its own');
    this.#isAdvancing = true;
    try {
      const untilMs = this.#nowMs + ms;
      await settled();
      for (let due = this.#take(untilMs); due !== undefined; due = this.#take(untilMs)) {
        this.#nowMs = due.atMs;
        due.callback?.();
        await settled();
      }
      this.#nowMs = untilMs;
    } finally {
      this.#isAdvancing = false;
    }
  }

  #add(due: Due): void {
    const heap = this.#due;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, due)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = due;
  }

  /** Takes the first callback that was not stopped; `undefined` if none is due by then. */
  #take(untilMs: number): Due | undefined {
    for (;;) {
      const [first] = this.#due;
      if (first === undefined || first.atMs > untilMs) return undefined;
      this.#removeFirst();
      if (first.callback !== undefined) return first;
    }
  }

  #removeFirst(): void {
    const heap = this.#due;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      const isRight = left !== undefined && right !== undefined && isBefore(right, left);
      const smaller = isRight ? right : left;
      if (smaller === undefined || isBefore(last, smaller)) break;
      heap[at] = smaller;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Resolves when all promises and ticks that follow from finished work are done. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    if (host.setImmediate !== undefined) host.setImmediate(resolve);
    else setTimeout(resolve);
  });
}
