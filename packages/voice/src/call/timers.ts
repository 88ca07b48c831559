import type { Clock, Timer } from '@spillway/core/clock';

/** Timers by name: at most one of each. */
export class Timers<Name extends string> {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #timers = new Map<Name, Timer>();

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  has(name: Name): boolean {
    return this.#timers.has(name);
  }

  /** Calls back once, after so long. One of the same name is stopped. */
  after(name: Name, ms: number, callback: () => void): void {
    this.stop(name);
    this.#timers.set(
      name,
      this.#clock.after(ms, () => {
        this.#timers.delete(name);
        callback();
      }),
    );
  }

  stop(name: Name): void {
    this.#timers.get(name)?.stop();
    this.#timers.delete(name);
  }

  stopAll(): void {
    for (const name of this.#timers.keys()) this.stop(name);
  }
}
