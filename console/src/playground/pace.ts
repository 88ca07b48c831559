/** Somebody who reads so many events a second. The speed may change at any time, and counts at once. */
export class Pace {
  eventsPerSecond: number;
  /** Timers are late: what was waited too long is not waited again. */
  #ahead = 0;

  constructor(eventsPerSecond: number) {
    this.eventsPerSecond = eventsPerSecond;
  }

  /** Resolves when so many events are read, or the signal says that nobody waits for it. */
  async read(events: number, signal: AbortSignal): Promise<void> {
    let left = events - this.#ahead;
    let lastMs = performance.now();
    while (left > 0 && !signal.aborted) {
      const speed = this.eventsPerSecond;
      if (speed === Infinity) {
        this.#ahead = 0;
        return;
      }
      await sleep(speed === 0 ? lookEveryMs : Math.min(lookEveryMs, (left / speed) * 1000));
      const nowMs = performance.now();
      left -= (speed * (nowMs - lastMs)) / 1000;
      lastMs = nowMs;
    }
    // Not more than a moment's, or a page that slept would read all at once.
    this.#ahead = Math.min(-left, this.eventsPerSecond * 0.1);
  }
}

const lookEveryMs = 50;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
