import type { Clock, Timer } from '../clock.ts';

/** How a {@link VirtualClock} begins. */
export interface VirtualClockOptions {
  /** All its randomness follows from it: a whole number from 0 to 2^32 − 1. Default: 1. */
  readonly seed?: number;
  /** What `dateMs` says at the beginning, in milliseconds since 1970. Default: the first moment of 2026. */
  readonly startDateMs?: number;
}

/** What was asked for, and not called yet. */
interface Due {
  readonly atMs: number;
  /** Of those of the same moment, the smaller one is first. */
  readonly order: number;
  /** `undefined`: it was stopped. */
  callback: (() => void) | undefined;
}

/** What Node has and browsers have not. */
interface Host {
  readonly setImmediate?: (callback: () => void) => void;
  readonly process?: { readonly nextTick?: (callback: (argument: never) => void, argument: unknown) => void };
}

const host = globalThis as Host;

/**
 * A clock for tests: its time passes only while `advance` runs, as fast as the machine can, and the same seed makes the same
 * run. What is called for one moment is done with, promises included, before the next one comes. It knows nothing of
 * sockets, files and threads: what waits for those takes real time, in which this clock stands still.
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
  /** A heap: each is due before those at twice its index and one or two more. */
  readonly #due: Due[] = [];
  #order = 0;
  #nowMs = 0;
  #random: number;
  #isAdvancing = false;

  constructor({ seed = 1, startDateMs = Date.UTC(2026) }: VirtualClockOptions = {}) {
    this.#random = seed;
    this.#startDateMs = startDateMs;
  }

  /** Milliseconds since it was made, as far as it was advanced. */
  nowMs(): number {
    return this.#nowMs;
  }

  /** Milliseconds since 1970; passes as `nowMs` does. */
  dateMs(): number {
    return this.#startDateMs + this.#nowMs;
  }

  /** Calls back once, exactly when so many milliseconds have passed. */
  after(ms: number, callback: () => void): Timer & { unref(): Timer } {
    const due: Due = { atMs: this.#nowMs + Math.max(0, ms), order: (this.#order += 1), callback };
    this.#add(due);
    const timer = {
      stop: () => {
        due.callback = undefined;
      },
      // It never keeps a process alive.
      unref: () => timer,
    };
    return timer;
  }

  /** Calls back each time when so many milliseconds have passed. At least 1. */
  every(ms: number, callback: () => void): Timer {
    let timer: Timer;
    const again = (): void => {
      timer = this.after(Math.max(1, ms), again);
      callback();
    };
    timer = this.after(Math.max(1, ms), again);
    return { stop: () => timer.stop() };
  }

  /** The same as `after`: nothing is called together with others. */
  soon(ms: number, callback: () => void): void {
    this.after(ms, callback);
  }

  /** Calls back at this moment, behind all that is due at it. */
  nextTurn(callback: () => void): void {
    this.after(0, callback);
  }

  /** Calls back behind what runs now, as `process.nextTick` does. */
  nextTick<T>(callback: (argument: T) => void, argument: T): void {
    if (host.process?.nextTick !== undefined) host.process.nextTick(callback, argument);
    else queueMicrotask(() => callback(argument));
  }

  /** A number from 0 to less than 1, of the seed. */
  random(): number {
    // Mulberry32 (Ettinger, 2017).
    this.#random = (this.#random + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** So many bytes of the seed: whoever knows it can guess them. */
  randomBytes(count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(count).map(() => this.random() * 256);
  }

  /**
   * Lets so many milliseconds pass: calls back all who are due by then, in their order, and waits after each until nothing is left to
   * do at its moment. Rejects with what a callback throws; the time then stands at that moment.
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

  /** Takes the first one that was not stopped; `undefined`: none is due by then. */
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

/** Until all promises and ticks that follow from what is done are done, too. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    if (host.setImmediate !== undefined) host.setImmediate(resolve);
    else setTimeout(resolve);
  });
}
