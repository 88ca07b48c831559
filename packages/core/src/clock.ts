/**
 * Time and randomness as they are handed in: nothing that is to be simulated asks the system for them itself. A clock of a
 * test's own makes a run of an hour last a moment, and the same each time.
 */
export interface Clock {
  /**
   * Milliseconds since a moment that stays the same as long as the process lives, with fractions. Never goes back: for how long
   * something takes, and no date.
   */
  nowMs(): number;
  /**
   * Calls back once, when that many milliseconds have passed, or later, and never before it returns. 0 to 2^31 − 1. Those that are
   * due at the same moment are called in the order in which they were asked for. In Node it keeps the process alive until then.
   */
  after(ms: number, callback: () => void): Timer;
  /** A number from 0 to less than 1, to spread what would otherwise come at once. No secret: others may guess it. */
  random(): number;
  /** So many bytes that nobody can guess, for names that are secrets. 0 to 65,536. */
  randomBytes(count: number): Uint8Array<ArrayBuffer>;
}

/** A callback to come. */
export interface Timer {
  /** It is not called any more; when it was, nothing happens. */
  stop(): void;
}

/** The time alone, where nothing else is needed. */
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
