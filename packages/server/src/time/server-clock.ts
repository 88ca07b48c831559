import type { Clock, Timer } from '@spillway/core/clock';

/** What a server needs of time beside what every part of Spillway does. It is handed in, as a {@link Clock} is. */
export interface ServerClock extends Clock {
  /** Milliseconds since 1970. It is set by people and may go back: for what is told to others, and no deadline. */
  dateMs(): number;
  after(ms: number, callback: () => void): ServerTimer;
  /** Calls back again and again, each time after so many milliseconds; 1 to 2^31 − 1. It never keeps the process alive. */
  every(ms: number, callback: () => void): Timer;
  /**
   * Calls back after that time or up to 5 ms later, together with all others of that moment: one timer for a thousand streams.
   * Cannot be stopped, so a callback has to look whether it is still wanted. It must not throw; if it does, the others are called
   * all the same.
   */
  soon(ms: number, callback: () => void): void;
  /** Calls back in a turn of its own: sockets and timers that are ready have theirs before. */
  nextTurn(callback: () => void): void;
  /** Calls back behind what runs now, before promises and everything else. Without a closure, because it is called for each token. */
  nextTick<T>(callback: (argument: T) => void, argument: T): void;
}

/** A callback to come. */
export interface ServerTimer extends Timer {
  /** It does not keep the process alive. */
  unref(): Timer;
}
