import type { ServerClock } from './server-clock.ts';

/** Calls that are due within this time share a timer. */
const slotMs = 5;

/** Makes many calls with few timers. A clock's `soon` is built on it. */
export class Soon {
  readonly #clock: Pick<ServerClock, 'after' | 'nextTurn' | 'nowMs'>;
  readonly #slots = new Map<number, (() => void)[]>();

  constructor(clock: Pick<ServerClock, 'after' | 'nextTurn' | 'nowMs'>) {
    this.#clock = clock;
  }

  call(delayMs: number, callback: () => void): void {
    const nowMs = this.#clock.nowMs();
    const slot = Math.ceil((nowMs + delayMs) / slotMs);
    const others = this.#slots.get(slot);
    if (others !== undefined) {
      others.push(callback);
      return;
    }
    const callbacks = [callback];
    this.#slots.set(slot, callbacks);
    this.#clock.after(slot * slotMs - nowMs, () => {
      this.#slots.delete(slot);
      this.#callAll(callbacks, 0);
    });
  }

  #callAll(callbacks: readonly (() => void)[], from: number): void {
    let at = from;
    try {
      while (at < callbacks.length) callbacks[at++]?.();
    } finally {
      const next = at;
      if (next < callbacks.length) this.#clock.nextTurn(() => this.#callAll(callbacks, next));
    }
  }
}
