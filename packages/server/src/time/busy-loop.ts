import { performance } from 'node:perf_hooks';

/** How often the loop's load is looked at. */
const lookMs = 100;
/** The part of its time that the event loop should work at most. */
const target = 0.9;
/**
 * How much longer the gap gets at a look after which the loop has never rested. A loop that works less than `target`
 * makes the gap shorter, in proportion.
 */
const stepMs = 4;
/**
 * A shorter gap gains nothing, because a model's tokens are at least 10 ms apart. A short burst of work is no load,
 * either.
 */
const minGapMs = 10;
const maxGapMs = 50;

/**
 * How long a provider is not read after a read, so that the next read brings more. The gap is 0 unless the event loop
 * has too much to do. Then every token waits for its turn anyway. A read and a write cost the same for one token as
 * for ten, so that fewer of them leave time again.
 */
export class BusyLoop {
  #before = performance.eventLoopUtilization();
  #lookedMs = performance.now();
  #wantedMs = 0;

  /** The present gap; 0: there is time for one read and one write for each token. */
  get gapMs(): number {
    return this.#wantedMs < minGapMs ? 0 : this.#wantedMs;
  }

  /** Call this often: it looks at the load every 100 ms at most. */
  look(nowMs: number): void {
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    const excess = (utilization - target) / (1 - target);
    this.#wantedMs = Math.min(maxGapMs, Math.max(0, this.#wantedMs + excess * stepMs));
  }
}
