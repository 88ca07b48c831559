import type { Clock } from '@spillway/core/clock';

/** `closed`: everything may be sent. `open`: nothing is. `half-open`: a few requests try whether it is well again. */
export type BreakerState = 'closed' | 'half-open' | 'open';

interface BreakerOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** How long nothing is sent once it opened: see {@link Breaker.breakMs}. */
  readonly breakMs: number;
  /** Called when the state has changed. */
  readonly onChange: (state: BreakerState) => void;
}

/** Outcomes count for so long, in slots of a second. */
const slots = 10;
const slotMs = 1000;
/** It opens when so many have failed in that time, and they are this share of all. */
const minFailures = 5;
const failureShare = 0.5;
/** The requests that try it again at the same time, and how many have to succeed, one after the other. */
const maxTrials = 3;

/**
 * A circuit breaker (Nygard, "Release It!"; the count of a sliding time as in resilience4j): who fails too often is not asked for
 * a while, and is then tried by a few. Who asks gets the number of the time in which it may, and says with it how that ended; what
 * was asked in a time that is over says nothing about the present one. Who is given up by whoever asked is neither a success nor a
 * failure.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  /** How long nothing is sent once it opened. A change counts from the next opening on. */
  breakMs: number;
  readonly #failures: number[] = Array.from({ length: slots }, () => 0);
  readonly #successes: number[] = Array.from({ length: slots }, () => 0);
  /** The second in which the newest slot counts. */
  #second: number;
  #state: BreakerState = 'closed';
  #openUntilMs = 0;
  #halfOpenSinceMs = 0;
  #trials = 0;
  #trialsWell = 0;
  #time = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.breakMs = options.breakMs;
    this.#second = Math.floor(options.clock.nowMs() / slotMs);
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** In how many milliseconds another request may be sent; 0: now. */
  get waitMs(): number {
    switch (this.#state) {
      case 'closed':
        return 0;
      case 'open':
        return Math.max(0, this.#openUntilMs - this.#options.clock.nowMs());
      default:
        // How long the trials take is not known. Those that hang leave room for others after each pause.
        return this.#trials < this.#maxTrials ? 0 : Math.min(1000, this.breakMs);
    }
  }

  get #maxTrials(): number {
    const { breakMs } = this;
    const { clock } = this.#options;
    return maxTrials * (1 + Math.floor((clock.nowMs() - this.#halfOpenSinceMs) / breakMs));
  }

  /** Takes the right to send a request; `undefined`: none is sent now. To be ended by one of the three below. */
  enter(): number | undefined {
    if (this.#state === 'closed') return this.#time;
    if (this.waitMs > 0) return undefined;
    if (this.#state === 'open') {
      this.#halfOpenSinceMs = this.#options.clock.nowMs();
      this.#become('half-open');
    }
    this.#trials += 1;
    return this.#time;
  }

  succeeded(time: number): void {
    if (time !== this.#time) return;
    if (this.#state === 'closed') return this.#count(this.#successes);
    this.#trials -= 1;
    this.#trialsWell += 1;
    if (this.#trialsWell >= maxTrials) this.#become('closed');
  }

  failed(time: number): void {
    if (time !== this.#time) return;
    if (this.#state !== 'closed') return this.#open();
    this.#count(this.#failures);
    const failed = sumOf(this.#failures);
    if (failed >= minFailures && failed >= failureShare * (failed + sumOf(this.#successes))) this.#open();
  }

  /** The request was given up, for no fault of whom it was sent to. */
  left(time: number): void {
    if (time === this.#time && this.#state === 'half-open') this.#trials -= 1;
  }

  #open(): void {
    this.#openUntilMs = this.#options.clock.nowMs() + this.breakMs;
    this.#become('open');
  }

  #become(state: BreakerState): void {
    this.#state = state;
    this.#time += 1;
    this.#trials = 0;
    this.#trialsWell = 0;
    this.#failures.fill(0);
    this.#successes.fill(0);
    this.#options.onChange(state);
  }

  #count(outcomes: number[]): void {
    const second = Math.floor(this.#options.clock.nowMs() / slotMs);
    const passed = Math.min(slots, second - this.#second);
    for (let ago = 0; ago < passed; ago += 1) {
      const slot = (second - ago) % slots;
      this.#failures[slot] = 0;
      this.#successes[slot] = 0;
    }
    this.#second = second;
    outcomes[second % slots] = (outcomes[second % slots] ?? 0) + 1;
  }
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
