import type { Clock } from '@spillway/core/clock';
import type { BodyHold } from '@spillway/server/memory/request-memory';

/**
 * One provider's models, as one credential sees them. Many answers share the bytes. They count as held until
 * every user has called `release`.
 */
export class HeldModels {
  /** The models as JSON objects with commas between them; empty if there are none. */
  readonly bytes: Buffer;
  readonly #hold: BodyHold;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #confirmedMs: number;
  /** The number of users: ModelLists, and each answer that sends the bytes. */
  #users = 1;

  constructor(bytes: Buffer, hold: BodyHold, clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
    this.#confirmedMs = clock.nowMs();
    this.bytes = bytes;
    this.#hold = hold;
  }

  /** The time since the provider last sent this list, in milliseconds. */
  get ageMs(): number {
    return this.#clock.nowMs() - this.#confirmedMs;
  }

  /** To be called when the provider sent the same list again. */
  confirm(): void {
    this.#confirmedMs = this.#clock.nowMs();
  }

  /** Adds a user, who has to call `release` once. */
  use(): this {
    this.#users += 1;
    return this;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#hold.release();
  }
}
