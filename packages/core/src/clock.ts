/**
 * Time and randomness for code that can be simulated: such code never asks the system itself. With a test's own clock,
 * a run of an hour lasts a moment, and is the same each time.
 */
export interface Clock {
  /**
   * Milliseconds, with fractions, since a moment that stays the same while the process lives. Never goes back. For
   * measuring durations; not a date.
   */
  nowMs(): number;
  /**
   * Calls back once, after at least `ms` milliseconds (0 to 2^31 − 1), and never before `after` returns. Callbacks that
   * are due at the same moment are called in the order of their `after` calls. In Node the timer keeps the process
   * alive until then.
   */
  after(ms: number, callback: () => void): Timer;
  /**
   * A number from 0 to less than 1, to spread events that would otherwise come at once. Not a secret: others may guess
   * it.
   */
  random(): number;
  /** Returns `count` bytes that nobody can guess, for names that are secrets. 0 to 65,536. */
  randomBytes(count: number): Uint8Array<ArrayBuffer>;
}

/** A callback that is to be called later. */
export interface Timer {
  /** Cancels the callback. Does nothing when it was called already. */
  stop(): void;
}

/** The system's time, where no timers and no randomness are needed. */
export const systemTime: Pick<Clock, 'nowMs'> = { nowMs: () => performance.now() };

/** The platform's own time and randomness: in browsers, workers and Node. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return { stop: () => clearTimeout(timer) };
  },
  random: Math.random,
  randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};
