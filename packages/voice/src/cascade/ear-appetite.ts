import { orAborted } from '@spillway/core/or-aborted';
import type { Appetite } from './spoken-answer.ts';

/** Whether the ear may have another sentence: when it has little to play, as it has confirmed. No clock guesses that. */
export class EarAppetite implements Appetite {
  readonly #thresholdMs: number;
  readonly #waiting = new Set<() => void>();
  #unheardMs = 0;

  constructor(thresholdMs: number) {
    this.#thresholdMs = thresholdMs;
  }

  get isHungry(): boolean {
    return this.#unheardMs <= this.#thresholdMs;
  }

  /** The ear has so much that it has not confirmed as played. */
  unheard(ms: number): void {
    this.#unheardMs = ms;
    if (this.isHungry) for (const resolve of this.#waiting) resolve();
  }

  async whenHungry(signal: AbortSignal): Promise<void> {
    if (this.isHungry) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    try {
      await orAborted(promise, signal);
    } finally {
      this.#waiting.delete(resolve);
    }
  }
}
