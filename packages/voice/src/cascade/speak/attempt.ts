import type { Clock } from '@spillway/core/clock';
import { orAborted } from '@spillway/core/or-aborted';
import { StageError } from '../stage-error.ts';

/** How long a speaker may take. */
export interface SpeakTimeouts {
  /** To the first audio of a text: 1 to 120,000 ms. Default: 10,000. */
  readonly firstAudioTimeoutMs?: number;
  /** Between two pieces of audio, while one is waited for: 1 to 120,000 ms. Default: 5,000. */
  readonly stallTimeoutMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

/**
 * One text that is being spoken: what ends it, and how long it may take. Time passes only while something is waited for, so that a
 * listener who is slow makes nobody late.
 */
export class Attempt {
  /** Aborted by the caller, by the speaker's close, by a wait that was too long, and by `end`. */
  readonly signal: AbortSignal;
  readonly #own = new AbortController();
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #stallMs: number;
  readonly #firstMs: number;
  #leftMs: number;
  #hasAudio = false;

  constructor(
    { clock, firstAudioTimeoutMs, stallTimeoutMs }: Required<SpeakTimeouts>,
    signal: AbortSignal,
    closed: AbortSignal,
  ) {
    this.signal = AbortSignal.any([signal, closed, this.#own.signal]);
    this.#clock = clock;
    this.#firstMs = this.#leftMs = firstAudioTimeoutMs;
    this.#stallMs = stallTimeoutMs;
  }

  get hasAudio(): boolean {
    return this.#hasAudio;
  }

  /** From now on a wait may take `stallTimeoutMs`. */
  gotAudio(): void {
    this.#hasAudio = true;
  }

  /**
   * Waits.
   *
   * @throws {StageError} `late`. Rejects with the signal's reason when that is aborted.
   */
  async wait<Value>(promise: Promise<Value>): Promise<Value> {
    const fromMs = this.#clock.nowMs();
    const ms = this.#hasAudio ? this.#stallMs : this.#leftMs;
    const timer = this.#clock.after(ms, () => {
      const what = this.#hasAudio
        ? `no more audio for ${this.#stallMs} ms`
        : `no audio within ${this.#firstMs} ms`;
      this.#own.abort(new StageError('late', `There was ${what}.`));
    });
    try {
      return await orAborted(promise, this.signal);
    } finally {
      timer.stop();
      this.#leftMs = Math.max(0, this.#leftMs - (this.#clock.nowMs() - fromMs));
    }
  }

  /** Ends what is still under way. */
  end(): void {
    this.#own.abort();
  }
}
