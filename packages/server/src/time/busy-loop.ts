import { performance } from 'node:perf_hooks';

/** How often it is looked at how busy the loop is. */
const lookMs = 100;
/** The part of the time for which the loop should work at most. */
const target = 0.9;
/** By how much longer the gap gets at a look at which the loop never rested; shorter by as much as it rested more than that. */
const stepMs = 4;
/** Below this a gap brings nothing, as tokens of a model are 10 ms apart and more; and a moment of work is no load. */
const minGapMs = 10;
const maxGapMs = 50;

/**
 * How long a provider is not read after a read, so that the next one brings more: not at all, unless the event loop has too much to
 * do. Then every token waits for its turn anyway, and a read and a write cost the same for one token as for ten: with
 * fewer of them there is time again.
 */
export class BusyLoop {
  #before = performance.eventLoopUtilization();
  #lookedMs = performance.now();
  #wantedMs = 0;

  /** 0: there is time for a read and a write a token. */
  get gapMs(): number {
    return this.#wantedMs < minGapMs ? 0 : this.#wantedMs;
  }

  /** To be called often; looks now and then. */
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
