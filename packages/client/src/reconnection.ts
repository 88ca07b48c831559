import type { Timer } from '@spillway/core/clock';
import { backoffMs } from './backoff.ts';
import type { SessionOptions } from './session-options.ts';

/** A connection that lasted longer than this was a good one: the waits begin with a short one again. */
const steadyMs = 10_000;

/** Decides when to try a lost connection again, and when to give up. */
export class Reconnection {
  readonly #options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>;
  readonly #connect: () => void;
  readonly #giveUp: () => void;
  #timer: Timer | undefined;
  #attempt = 0;
  /** When the last good connection was lost. `undefined` before the first loss and after `stop`. */
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

  /** Called when the gateway sent something. */
  heard(): void {
    this.#hasHeard = true;
  }

  /**
   * Plans the next attempt. `hasBrought`: the connection brought its streams something, or no stream is stranded. The
   * waits grow while connections bring nothing.
   */
  lost(wasOpen: boolean, hasBrought: boolean): void {
    const { clock, giveUpAfterMs } = this.#options;
    const now = clock.nowMs();
    const wasSteady = now - this.#openedAt > steadyMs;
    // A connection that closes as soon as it is open counts as a failed attempt.
    const wasGood = wasOpen && (this.#hasHeard || wasSteady);
    if (wasGood && (hasBrought || wasSteady)) this.#attempt = 0;
    if (wasGood || this.#lostAt === undefined) this.#lostAt = now;
    const leftMs = this.#lostAt + giveUpAfterMs - now;
    // One long wait must not use up all of `giveUpAfterMs`.
    const waitMs = Math.min(backoffMs(this.#attempt++, clock.random()), giveUpAfterMs / 2);
    this.#timer = clock.after(Math.max(0, Math.min(waitMs, leftMs)), () => {
      this.#timer = undefined;
      if (waitMs < leftMs) this.#connect();
      else this.#giveUp();
    });
  }

  /** Ends the wait, because the network or the page is back. */
  hurry(): void {
    const { isWaiting } = this;
    this.stop();
    // Without a wait an attempt is under way, perhaps too early. Then the next wait is a short one.
    if (isWaiting) this.#connect();
  }

  /** Ends the attempts: no stream needs a connection. */
  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    this.#attempt = 0;
    this.#lostAt = undefined;
  }
}
