import type { Clock, Timer } from '@spillway/core/clock';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';

/** What a bad link does, drawn by a seed: the same seed does the same to the same messages. */
export interface LinkFaults {
  /** A whole number from 0 to 2^32 − 1. Default: 1. */
  readonly seed?: number | undefined;
  /**
   * The share of the human's frames that are lost before the carrier, 0 to 1. No message is missing then: the time stamps
   * jump. Default: 0.
   */
  readonly lossRate?: number | undefined;
  /** How long a message is on its way, each direction. Default: 0. */
  readonly delayMs?: number | undefined;
  /**
   * The share of messages, 0 to 1, that come so many milliseconds later, and all behind them too: what a lost packet does to
   * a connection by TCP. Default: 0, and 300 ms.
   */
  readonly stallRate?: number | undefined;
  readonly stallMs?: number | undefined;
}

/** One direction of a link: messages arrive in order, late, and after a stall many at once. */
export class Link {
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #faults: LinkFaults;
  readonly #random: VirtualClock;
  readonly #onItsWay: { readonly atMs: number; readonly deliver: () => void }[] = [];
  #timer: Timer | undefined;

  /** @param direction distinguishes what is drawn for each. */
  constructor(clock: Pick<Clock, 'after' | 'nowMs'>, faults: LinkFaults, direction: number) {
    this.#clock = clock;
    this.#faults = faults;
    this.#random = new VirtualClock({ seed: (faults.seed ?? 1) + direction });
  }

  /** Calls back when a message that is sent now arrives. */
  pass(deliver: () => void): void {
    const { delayMs = 0, stallMs = 300, stallRate = 0 } = this.#faults;
    const isStalled = stallRate > 0 && this.#random.random() < stallRate;
    this.#onItsWay.push({ atMs: this.#clock.nowMs() + delayMs + (isStalled ? stallMs : 0), deliver });
    this.#deliver();
  }

  /** Delivers nothing any more. */
  stop(): void {
    this.#onItsWay.length = 0;
    this.#timer?.stop();
  }

  /** Delivers what is due. What is behind a message that is not has to wait, though its own time has come. */
  #deliver(): void {
    const nowMs = this.#clock.nowMs();
    while ((this.#onItsWay[0]?.atMs ?? Infinity) <= nowMs) this.#onItsWay.shift()?.deliver();
    const [next] = this.#onItsWay;
    if (next === undefined) return;
    this.#timer?.stop();
    this.#timer = this.#clock.after(next.atMs - nowMs, () => this.#deliver());
  }
}
