import type { Clock, Timer } from '@spillway/core/clock';

/** Who is told of an answer. */
export interface AnswerWatchOptions {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly timeoutMs: number;
  /** Nothing came of an answer for `timeoutMs`. Called once; nothing is awaited from then on. */
  readonly onLate: () => void;
  /** An answer is heard: how long the model took until it spoke, and then its speech until the ear confirmed some of it. */
  readonly onAnswered: (thoughtMs: number, playedMs: number) => void;
}

/** Whether an answer comes, and how long each part of the way to the ear takes. */
export class AnswerWatch {
  readonly #options: AnswerWatchOptions;
  #timer: Timer | undefined;
  /** When the last sign of the answer that is awaited came. */
  #signMs = 0;
  #isAwaited = false;
  #askedMs: number | undefined;
  #spoke: { readonly atMs: number; readonly thoughtMs: number } | undefined;

  constructor(options: AnswerWatchOptions) {
    this.#options = options;
  }

  /** Whether an answer is due. */
  get isAwaited(): boolean {
    return this.#isAwaited;
  }

  /** An answer is due: the human has stopped speaking, or the call asked. */
  asked(): void {
    this.#askedMs ??= this.#options.clock.nowMs();
    this.sign();
  }

  /** Something of it came: there is to be more, or its end. */
  sign(): void {
    this.#isAwaited = true;
    this.#signMs = this.#options.clock.nowMs();
    this.#watch();
  }

  /** It speaks. `isIdle`: the ear has nothing else to play first. */
  spoke(isIdle: boolean): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#askedMs !== undefined && isIdle)
      this.#spoke = { atMs: nowMs, thoughtMs: nowMs - this.#askedMs };
    this.#askedMs = undefined;
    this.sign();
  }

  /** The ear has confirmed that it played something. */
  played(): void {
    if (this.#spoke === undefined) return;
    const { atMs, thoughtMs } = this.#spoke;
    this.#spoke = undefined;
    this.#options.onAnswered(thoughtMs, this.#options.clock.nowMs() - atMs);
  }

  /** It has ended. */
  ended(): void {
    this.#isAwaited = false;
    this.#askedMs = undefined;
  }

  /** The human spoke into it, or the call is over: nothing is awaited. */
  close(): void {
    this.ended();
    this.#spoke = undefined;
    this.#timer?.stop();
    this.#timer = undefined;
  }

  /** One timer is enough: one that fires early goes on for the rest. */
  #watch(): void {
    const { clock, onLate, timeoutMs } = this.#options;
    this.#timer ??= clock.after(this.#signMs + timeoutMs - clock.nowMs(), () => {
      this.#timer = undefined;
      if (!this.#isAwaited) return;
      if (clock.nowMs() < this.#signMs + timeoutMs) this.#watch();
      else {
        onLate();
        this.ended();
      }
    });
  }
}
