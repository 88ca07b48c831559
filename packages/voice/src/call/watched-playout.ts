import {
  type HeardPart,
  type Interruption,
  Playout,
  type PlayoutOptions,
  type SpokenPart,
} from '@spillway/core/audio';
import type { CarrierLeg } from '../carrier/carrier-leg.ts';
import { Timers } from './timers.ts';

/** How a call speaks. */
export interface WatchedPlayoutOptions extends Omit<PlayoutOptions, 'format'> {
  readonly carrier: CarrierLeg;
  readonly stallTimeoutMs: number;
  /** The ear has confirmed nothing for so long, although it has audio. */
  readonly onStalled: () => void;
}

/** The model's speech on its way to the ear, and whether the ear still plays: while a mark is out, one has to come back in time. */
export class WatchedPlayout {
  readonly #options: WatchedPlayoutOptions;
  readonly #playout: Playout;
  readonly #timers: Timers<'stall'>;

  constructor(options: WatchedPlayoutOptions) {
    const { carrier, clock } = options;
    this.#options = options;
    this.#playout = new Playout(carrier, { ...options, format: carrier.format });
    this.#timers = new Timers(clock);
  }

  get isIdle(): boolean {
    return this.#playout.isIdle;
  }

  get marksOut(): number {
    return this.#playout.marksOut;
  }

  get unheard(): readonly HeardPart[] {
    return this.#playout.unheard;
  }

  get unconfirmedMs(): number {
    return this.#playout.unconfirmedMs;
  }

  get waitingMs(): number {
    return this.#playout.waitingMs;
  }

  /** Takes audio of a part; too much of it is cut. */
  write(part: SpokenPart, audio: Uint8Array): boolean {
    const isTaken = this.#playout.write(part, audio);
    this.#watch();
    return isTaken;
  }

  end(part: SpokenPart): void {
    this.#playout.end(part);
    this.#watch();
  }

  /** Takes a mark. Returns whether it says that something was played. */
  returned(name: string): boolean {
    const isPlayed = this.#playout.returned(name) === 'played';
    if (isPlayed) {
      this.#timers.stop('stall');
      this.#watch();
    }
    return isPlayed;
  }

  interrupt(): Interruption {
    this.#timers.stop('stall');
    return this.#playout.interrupt();
  }

  hold(): void {
    this.#timers.stop('stall');
    this.#playout.hold();
  }

  release(): void {
    this.#playout.release();
    this.#watch();
  }

  close(): void {
    this.#timers.stop('stall');
    this.#playout.close();
  }

  #watch(): void {
    if (this.#playout.marksOut === 0 || this.#timers.has('stall')) return;
    this.#timers.after('stall', this.#options.stallTimeoutMs, this.#options.onStalled);
  }
}
