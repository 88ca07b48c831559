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
/** A window has at least as many first tokens as there are places, between these bounds. */
const minSamples = 3;
const maxSamples = 25;
/**
 * How many times the best may pass before that is called slow. Beside what is slow, medians differ by chance, and
 * by how long prompts are.
 */
const tolerance = 1.3;
/** How much of the way to a median that differs by chance the best goes: if faster, and if slower. */
const toFaster = 0.2;
const toSlower = 0.03;
/** A slow window after which the next one has at least this part of its median was not slow for its load. */
const noBetter = 0.85;
/** A limit that has proved too high falls to so much of what was measured, so that what waits at the provider is served. */
const below = 0.9;
/** What is left of the limit after a window with failures. */
const afterFailure = 0.7;
/** Failures up to this part of the answers say nothing about load. */
const harmlessFailures = 1 / 20;

/**
 * A limit that finds itself between two bounds, from the time to the first token against its best: as Gradient2 of
 * Netflix's concurrency-limits (2018), adapted to streams. It judges once a window, by the median of the first tokens that
 * were asked for in that window, because there are few, and prompts differ in length.
 *
 * - Not slower than the best, and all places were taken at some time of the window: the limit grows by its square root.
 * - Slower: the limit falls in proportion, at most to a half. If the next window is no better with fewer at work, or not
 *   half of the places were taken, the provider is slower by itself. Then the best follows it and the limit stays.
 * - Much faster than the best: that is the best now.
 * - More than one in twenty refused or too late: it falls by a third, once in the window.
 *
 * After a fall that was not for load, and at the beginning, it doubles instead, until half of what it was.
 *
 * While fewer places are taken than there are, it does not grow, whatever the times are.
 */
export class GradientLimit implements ConcurrencyLimit {
  readonly #options: GradientLimitOptions;
  #limit: number;
  /** Up to here it doubles. */
  #doubleUntil: number;
  /** The limit before it fell, in this row of windows that were slow or failed. */
  #limitBefore: number | undefined;
  #bestMs: number | undefined;
  #latestMs: number | undefined;
  /** The median of the latest window if that was slow. */
  #slowMs: number | undefined;
  // --- the present window
  #sinceMs: number;
  #samplesMs: number[] = [];
  #mostInFlight = 0;
  #failures = 0;
  #hasFallen = false;

  constructor(options: GradientLimitOptions) {
    this.#options = options;
    this.#limit = Math.min(Math.max(firstLimit, options.min), options.max);
    this.#doubleUntil = options.max;
    this.#sinceMs = options.clock.nowMs();
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
    this.#mostInFlight = Math.max(this.#mostInFlight, inFlight);
    const nowMs = this.#options.clock.nowMs();
    // What was asked before says how it was under another limit.
    if (nowMs - ttftMs < this.#sinceMs) return;
    this.#samplesMs.push(ttftMs);
    const wanted = Math.min(Math.max(minSamples, this.current), maxSamples);
    if (this.#samplesMs.length >= wanted && nowMs - this.#sinceMs >= minWindowMs) this.#judge(nowMs);
  }

  failed(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#hasFallen && nowMs - this.#sinceMs >= minWindowMs) this.#begin(nowMs);
    this.#failures += 1;
    const answers = this.#failures + this.#samplesMs.length;
    if (this.#hasFallen || this.#failures <= answers * harmlessFailures) return;
    this.#hasFallen = true;
    this.#limitBefore ??= this.#limit;
    this.#doubleUntil = this.#limitBefore / 2;
    this.#set(this.#limit * afterFailure);
  }

  #judge(nowMs: number): void {
    const medianMs = medianOf(this.#samplesMs);
    this.#latestMs = medianMs;
    this.#bestMs ??= medianMs;
    if (medianMs * tolerance < this.#bestMs) this.#bestMs = medianMs;
    // After failures, neither faster nor slower says anything.
    if (!this.#hasFallen) {
      if (medianMs > tolerance * this.#bestMs) this.#wasSlow(medianMs, this.#bestMs);
      else this.#wasQuick(medianMs, this.#bestMs);
    }
    this.#begin(nowMs);
  }

  #wasSlow(medianMs: number, bestMs: number): void {
    const isNoBetter = this.#slowMs !== undefined && medianMs > noBetter * this.#slowMs;
    this.#slowMs = medianMs;
    if (isNoBetter || !this.#wasHalfUsed) {
      this.#bestMs = (bestMs + medianMs) / 2;
      if (this.#limitBefore !== undefined) this.#doubleUntil = this.#limitBefore / 2;
      return;
    }
    this.#limitBefore ??= this.#limit;
    this.#set(this.#limit * Math.max(0.5, bestMs / medianMs) * below);
    this.#doubleUntil = this.#limit;
  }

  #wasQuick(medianMs: number, bestMs: number): void {
    this.#slowMs = undefined;
    this.#limitBefore = undefined;
    const part = medianMs > bestMs && this.#wasHalfUsed ? toSlower : toFaster;
    this.#bestMs = bestMs + (medianMs - bestMs) * part;
    if (this.#mostInFlight < this.current) return;
    const step = this.#limit + Math.sqrt(this.#limit);
    this.#set(Math.max(step, Math.min(2 * this.#limit, this.#doubleUntil)));
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
    this.#hasFallen = false;
  }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [high = 0] = sorted.slice(sorted.length >> 1);
  const [low = 0] = sorted.slice((sorted.length - 1) >> 1);
  return (low + high) / 2;
}
