import type { Clock, Timer } from '@spillway/core/clock';
import type { SimulatedRecogniserFaults } from './recogniser-options.ts';

/** How often it is looked whether answers still have to wait. */
const lookMs = 20;

/** Gives answers in order, and as late as the faults say. Whoever adds bounds how many wait. */
export class AnswerQueue {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #faults: () => SimulatedRecogniserFaults;
  readonly #waiting: (() => void)[] = [];
  #timer: Timer | undefined;

  constructor(clock: Pick<Clock, 'after'>, faults: () => SimulatedRecogniserFaults) {
    this.#clock = clock;
    this.#faults = faults;
  }

  /** The answers that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  add(answer: () => void): void {
    this.#waiting.push(answer);
    if (this.#timer === undefined) this.#wait(this.#faults().lateMs ?? 0);
  }

  /** Gives no more answers. */
  stop(): void {
    this.#timer?.stop();
    this.#waiting.length = 0;
  }

  #wait(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined;
      if (this.#faults().isStalled) this.#wait(lookMs);
      else {
        this.#waiting.shift()?.();
        if (this.#waiting.length > 0) this.#wait(0);
      }
    });
  }
}
