import { monitorEventLoopDelay } from 'node:perf_hooks';

let rssBytes = process.memoryUsage.rss();

/**
 * The physical memory of the process. Node opens a file to read it. When no descriptor is free, the last known value
 * is returned.
 */
export function physicalBytes(): number {
  try {
    rssBytes = process.memoryUsage.rss();
  } catch {
    // What was known before.
  }
  return rssBytes;
}

/** How finely the event loop's delay is measured. */
const resolutionMs = 20;

/** The delays of the event loop since the last `take`. */
export interface LoopDelayMs {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Measures how late the event loop gets to its work, with a timer of its own, 50 times a second. Each user needs its
 * own instance, because `take` starts the figures anew.
 */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  take(): LoopDelayMs {
    const histogram = this.#histogram;
    const delay = (ns: number): number => (histogram.count === 0 ? 0 : Math.max(0, ns / 1e6 - resolutionMs));
    const taken = {
      p50: delay(histogram.percentile(50)),
      p99: delay(histogram.percentile(99)),
      max: delay(histogram.max),
    };
    histogram.reset();
    return taken;
  }

  stop(): void {
    this.#histogram.disable();
  }
}
