import type { ServerClock } from '../time/server-clock.ts';
import type { ConcurrencyLimit } from './concurrency-limit.ts';

/** What a {@link GradientLimit} is made of. */
export interface GradientLimitOptions {
  readonly clock: Pick<ServerClock, 'nowMs'>;
  /** The limit is never lower: a whole number, at least 1. */
  readonly min: number;
  /** The limit is never higher: a whole number, at least `min`. */
  readonly max: number;
}

/** Where the limit begins, between its bounds: low enough to see how fast the provider is without load. */
const firstLimit = 10;
/** A window lasts at least as long. */
const minWindowMs = 1000;
/** A window has as many first tokens as there are places, but not fewer or more than this; fewer behind a slow one. */
const minSamples = 12;
const minSamplesWhenSlow = 6;
const maxSamples = 25;
/**
 * How many times the best may pass before that is called slow. Beside what is slow, medians differ by chance, and
 * by how long prompts are.
 */
const tolerance = 1.35;
/** How much of the way to a median that differs by chance the best goes: if faster, and if slower. */
const toFaster = 0.2;
const toSlower = 0.03;
/** Of three slow windows in a row, the last has at least this part of the median before it: fewer places did not help. */
const noBetter = 0.8;
/**
 * A limit that has proved too high falls to so much of what was measured. That is below what fits, so that the window behind
 * it shows the best again, whatever counted as the best by then. (BBR probes for the same reason: Cardwell and others,
 * "BBR: Congestion-Based Congestion Control", 2016.)
 */
const below = 0.75;
/** What is left of the limit after a window with failures. */
const afterFailure = 0.7;
/** Failures up to this part of the answers say nothing about load. */
const harmlessFailures = 1 / 20;
/** How much of what the limit was is taken back at once: after failures, and if the fall was none for load. */
const regainedAfterFailure = 0.5;
const regainedAfterError = 0.9;

/**
 * A limit that finds itself between two bounds, from the time to the first token against its best: as Gradient2 of
 * Netflix's concurrency-limits (2018), adapted to streams. It judges once a window, by the median of the first tokens that
 * were asked for in that window, because there are few, and prompts differ in length.
 *
 * - Not slower than the best, and all places were taken at some time of the window: the limit grows by its square root.
 * - Slower: the limit falls to three quarters of what the median says that fits, at most to 3/8 of what it was. The next
 *   window that is not slow tells the best anew.
 * - Three times slower in a row, and no better for the falls, or slow while not half of the places were taken: then the
 *   provider is slower by itself. That is the best now.
 * - Much faster than the best: that is the best now.
 * - More than one in twenty refused or too late: it falls by a third, once a second at most.
 *
 * A fall that was not for load, and half of one for failures, is taken back with each first token by one place. While fewer
 * places are taken than there are, the limit never grows.
 */
export class GradientLimit implements ConcurrencyLimit {
  #options: GradientLimitOptions;
  #limit: number;
  /** The limit before it fell, in this row of windows that were slow or failed. */
  #limitBefore: number | undefined;
  /** Up to here the limit is taken back. */
  #regained = 0;
  #bestMs: number | undefined;
  #latestMs: number | undefined;
  #slowWindows = 0;
  // --- the present window
  #sinceMs: number;
  #samplesMs: number[] = [];
  #mostInFlight = 0;
  #failures = 0;
  /** Whether the limit has fallen for them. */
  #hasFailed = false;

  constructor(options: GradientLimitOptions) {
    this.#options = options;
    this.#limit = Math.min(Math.max(firstLimit, options.min), options.max);
    this.#sinceMs = options.clock.nowMs();
  }

  /** Sets other bounds. What was found stays, as far as it is within them; with both the same, the limit is fixed until they are others. */
  setBounds({ max, min }: Pick<GradientLimitOptions, 'max' | 'min'>): void {
    this.#options = { ...this.#options, max, min };
    this.#set(this.#limit);
  }

  get current(): number {
    return Math.floor(this.#limit);
  }

  /** The median time to the first token while the provider is not slow; `undefined`: not known yet. */
  get bestMs(): number | undefined {
    return this.#bestMs;
  }

  /** The median of the latest window; `undefined`: there was none. */
  get latestMs(): number | undefined {
    return this.#latestMs;
  }

  sample(ttftMs: number, inFlight: number): void {
    const nowMs = this.#options.clock.nowMs();
    const askedMs = nowMs - ttftMs;
    if (this.#isFailedOver(nowMs)) this.#begin(Math.max(this.#sinceMs + minWindowMs, askedMs));
    this.#mostInFlight = Math.max(this.#mostInFlight, inFlight);
    // What was asked before says how it was under another limit.
    if (askedMs < this.#sinceMs) return;
    this.#samplesMs.push(ttftMs);
    if (this.#limit < this.#regained && inFlight >= this.current && !this.#hasFailed)
      this.#set(this.#limit + 1);
    if (this.#hasFailed || nowMs - this.#sinceMs < minWindowMs) return;
    if (this.#samplesMs.length >= this.#wantedSamples) this.#judge(nowMs);
  }

  failed(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#isFailedOver(nowMs)) this.#begin(nowMs);
    this.#failures += 1;
    const answers = this.#failures + this.#samplesMs.length;
    if (this.#hasFailed || this.#failures <= answers * harmlessFailures) return;
    this.#hasFailed = true;
    this.#limitBefore ??= this.#limit;
    this.#regained = this.#limitBefore * regainedAfterFailure;
    this.#set(this.#limit * afterFailure);
  }

  /** A window in which the limit fell for failures lasts as long as a window has to, and is not judged. */
  #isFailedOver(nowMs: number): boolean {
    return this.#hasFailed && nowMs - this.#sinceMs >= minWindowMs;
  }

  get #wantedSamples(): number {
    const least = this.#slowWindows > 0 ? minSamplesWhenSlow : minSamples;
    return Math.min(Math.max(least, this.current), maxSamples);
  }

  #judge(nowMs: number): void {
    const medianMs = medianOf(this.#samplesMs);
    const beforeMs = this.#latestMs ?? medianMs;
    const bestMs = this.#bestMs ?? medianMs;
    this.#latestMs = medianMs;
    if (medianMs > tolerance * bestMs) this.#wasSlow(medianMs, beforeMs, bestMs);
    else this.#wasQuick(medianMs, bestMs);
    this.#begin(nowMs);
  }

  #wasSlow(medianMs: number, beforeMs: number, bestMs: number): void {
    this.#slowWindows += 1;
    const isNoBetter = this.#slowWindows > 2 && medianMs > noBetter * beforeMs;
    if (isNoBetter || !this.#wasHalfUsed) {
      this.#bestMs = medianMs;
      this.#regained = (this.#limitBefore ?? 0) * regainedAfterError;
      return;
    }
    this.#limitBefore ??= this.#limit;
    this.#set(this.#limit * Math.max(0.5, bestMs / medianMs) * below);
  }

  #wasQuick(medianMs: number, bestMs: number): void {
    const isNew = this.#slowWindows > 0 || medianMs * tolerance < bestMs;
    const part = medianMs > bestMs && this.#wasHalfUsed ? toSlower : toFaster;
    this.#bestMs = isNew ? medianMs : bestMs + (medianMs - bestMs) * part;
    this.#slowWindows = 0;
    this.#limitBefore = undefined;
    if (this.#limit >= this.#regained) this.#regained = 0;
    if (this.#mostInFlight >= this.current) this.#set(this.#limit + Math.sqrt(this.#limit));
  }

  get #wasHalfUsed(): boolean {
    return 2 * this.#mostInFlight >= this.current;
  }

  #set(limit: number): void {
    const { max, min } = this.#options;
    this.#limit = Math.min(Math.max(limit, min), max);
  }

  #begin(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#samplesMs = [];
    this.#mostInFlight = 0;
    this.#failures = 0;
    this.#hasFailed = false;
  }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [high = 0] = sorted.slice(sorted.length >> 1);
  const [low = 0] = sorted.slice((sorted.length - 1) >> 1);
  return (low + high) / 2;
}
