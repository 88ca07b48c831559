import type { Clock, Timer } from '@spillway/core/clock';

/**
 * The time functions that a server needs beside those of {@link Clock}. A server clock is handed in, as a {@link
 * Clock} is.
 */
export interface ServerClock extends Clock {
  /** Milliseconds since 1970. People set this time, and it may go back: use it for output, never for a deadline. */
  dateMs(): number;
  after(ms: number, callback: () => void): ServerTimer;
  /** Calls back every `ms` milliseconds; 1 to 2^31 − 1. The timer never keeps the process alive. */
  every(ms: number, callback: () => void): Timer;
  /**
   * Calls back after `ms` milliseconds or up to 5 ms later, together with all other calls of that moment: one timer
   * for a thousand streams. A call cannot be stopped, so a callback checks whether it is still wanted. A callback
   * must not throw. If one does, the others are called all the same.
   */
  soon(ms: number, callback: () => void): void;
  /** Calls back in a later turn, after sockets and timers that are ready now. */
  nextTurn(callback: () => void): void;
  /**
   * Calls back after the code that runs now, and before promises and all else. Takes an argument instead of a
   * closure, because it is called for each token.
   */
  nextTick<T>(callback: (argument: T) => void, argument: T): void;
}

/** A call in the future. */
export interface ServerTimer extends Timer {
  /** Lets the process end although the call is still to come. */
  unref(): Timer;
}
