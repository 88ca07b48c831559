import { performance } from 'node:perf_hooks';

/** How often it is looked at how busy the loop is. */
const lookMs = 100;
/** The loop is busy when it works for more than this part of the time, and is not any more below the other. */
const busy = 0.85;
const calm = 0.7;
/** Between two reads of one reply while the loop is busy: longer as long as it stays so. */
const minGapMs = 10;
const maxGapMs = 60;
const growth = 1.5;

/**
 * How long a provider is not read after a read, so that the next one brings more: not at all, unless the event loop has too much to
 * do. Then every token waits for its turn anyway, and a read and a write cost the same for one token as for ten: with
 * fewer of them there is time again.
 */
export class BusyLoop {
  #before = performance.eventLoopUtilization();
  #lookedMs = performance.now();
  /** 0: there is time for a read and a write a token. */
  gapMs = 0;

  /** To be called often; looks now and then. */
  look(nowMs: number): void {
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    if (utilization > busy) this.gapMs = Math.min(maxGapMs, Math.max(minGapMs, this.gapMs * growth));
    else if (utilization < calm) this.gapMs = this.gapMs <= minGapMs ? 0 : this.gapMs / growth;
  }
}
