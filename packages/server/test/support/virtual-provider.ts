import type { VirtualClock } from '@spillway/core/testing/virtual-clock';

/**
 * A provider on a virtual clock that has room for so many streams: more of them get their first token later, and their
 * tokens more slowly, each in proportion.
 */
export class VirtualProvider {
  readonly #clock: VirtualClock;
  /** How many streams it serves at its full pace. */
  capacity: number;
  /** How many times slower than it was it is, with any number of streams. */
  slowness = 1;
  /** How long its answers take from the first token to the last, in the mean and without load. */
  answerMs = 5000;
  /** Whether it refuses everything. */
  isGone = false;
  running = 0;

  constructor(clock: VirtualClock, capacity: number) {
    this.#clock = clock;
    this.capacity = capacity;
  }

  /**
   * Runs one stream to its end. The first token comes after about 0.4 s (half of them from 0.32 to 0.51), the last about
   * `answerMs` later. `onFirst` is called with the first token, or without if the stream fails.
   */
  async stream(onFirst: (ttftMs: number | undefined) => void): Promise<void> {
    this.running += 1;
    const load = Math.max(1, this.running / this.capacity) * this.slowness;
    const ttftMs = 400 * load * Math.exp(0.35 * this.#gauss());
    await this.#after(this.isGone ? 50 : ttftMs);
    const isGone = this.isGone;
    onFirst(isGone ? undefined : ttftMs);
    if (!isGone) await this.#after(load * this.answerMs * (0.3 - 0.7 * Math.log(1 - this.#clock.random())));
    this.running -= 1;
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(ms, resolve));
  }

  /** Of a standard normal distribution (Box and Muller, 1958). */
  #gauss(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#clock.random()));
    return radius * Math.cos(2 * Math.PI * this.#clock.random());
  }
}
