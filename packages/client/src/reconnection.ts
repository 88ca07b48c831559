import type { Timer } from '@spillway/core/clock';
import { backoffMs } from './backoff.ts';
import type { SessionOptions } from './session-options.ts';

/** A connection that lasted so long was a good one: the next attempt is a first one again. */
const steadyMs = 10_000;

/** When a lost connection is tried again, and when no more. */
export class Reconnection {
  readonly #options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>;
  readonly #connect: () => void;
  readonly #giveUp: () => void;
  #timer: Timer | undefined;
  #attempt = 0;
  /** When the last good connection was lost; `undefined` while there is one. */
  #lostAt: number | undefined;
  #openedAt = 0;
  #hasHeard = false;

  constructor(
    options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>,
    connect: () => void,
    giveUp: () => void,
  ) {
    this.#options = options;
    this.#connect = connect;
    this.#giveUp = giveUp;
  }

  get isWaiting(): boolean {
    return this.#timer !== undefined;
  }

  opened(): void {
    this.#openedAt = this.#options.clock.nowMs();
    this.#hasHeard = false;
  }

  /** The gateway said something. */
  heard(): void {
    this.#hasHeard = true;
  }

  /** `hasBrought`: what the streams had to get came, or some of it; one that brings nothing each time must not come back at once. */
  lost(wasOpen: boolean, hasBrought: boolean): void {
    const { clock, giveUpAfterMs } = this.#options;
    const now = clock.nowMs();
    const wasSteady = now - this.#openedAt > steadyMs;
    // One that closes as soon as it is open is as good as none.
    const wasGood = wasOpen && (this.#hasHeard || wasSteady);
    if (wasGood && (hasBrought || wasSteady)) this.#attempt = 0;
    if (wasGood || this.#lostAt === undefined) this.#lostAt = now;
    const leftMs = this.#lostAt + giveUpAfterMs - now;
    // One long wait must not be all the time in which a connection has to come back.
    const waitMs = Math.min(backoffMs(this.#attempt++, clock.random()), giveUpAfterMs / 2);
    this.#timer = clock.after(Math.max(0, Math.min(waitMs, leftMs)), () => {
      this.#timer = undefined;
      if (waitMs < leftMs) this.#connect();
      else this.#giveUp();
    });
  }

  /** The network or the page is back: nothing is to be waited for. */
  hurry(): void {
    const { isWaiting } = this;
    this.stop();
    // One that is being tried may have been too early: the next wait is a short one.
    if (isWaiting) this.#connect();
  }

  /** There is nothing to come back for. */
  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    this.#attempt = 0;
    this.#lostAt = undefined;
  }
}
