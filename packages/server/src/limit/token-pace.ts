import type { Clock, Timer } from '@spillway/core/clock';

/** The least burst, in tokens: formats have about so many events in front of the first word. */
const minBurstTokens = 4;
/** The burst of a faster pace, in time. A timer that is late by less than this takes nothing from the pace. */
const burstMs = 100;
/** What an event may owe, in time: the rest of a larger one is forgiven, or it would stop its tenant for minutes. */
const maxDebtMs = 10_000;
/** What a timer can wait at most: with more it would not wait at all. */
const maxTimerMs = 2_147_483_647;
/** What floating-point numbers may lose in a wait that was exact. */
const lossOfFloats = 1e-6;

/** What a pace remembers of one stream. */
export interface PaceShare {
  /** How much the stream has had of the pace, in tokens, on the pace's own scale. */
  servedTo: number;
}

/** Somebody waits for its turn. */
interface Turn {
  readonly share: PaceShare;
  readonly tokens: number;
  /** Its place on the pace's scale: the smallest is next. */
  readonly start: number;
  readonly go: () => void;
}

/**
 * A pace in tokens a second, which several streams may share. It slows, and refuses nothing: who asks for more than there is
 * waits for its turn.
 *
 * In each time of t seconds at most `tokensPerSecond` × t + `burst` tokens go, and one event more where that event has more
 * tokens than the burst: it holds up the next one by at most 10 seconds. Nothing is kept back while somebody could go (start-time fair queueing): of streams that always
 * wait, each gets the same number of tokens, to within two of its largest events, however many it asks for.
 */
export class TokenPace {
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  #perSecond: number;
  /** The tokens that may go at once. Less than 0 after an event with more tokens than the burst. */
  #held: number;
  #atMs: number;
  /** Where the latest turn began. Who was away begins here: nobody saves up turns. */
  #servedTo = 0;
  /** By `start`; the same starts in the order of their asking. */
  readonly #turns: Turn[] = [];
  #timer: Timer | undefined;
  #isServing = false;

  /** `tokensPerSecond`: more than 0, fractions too. */
  constructor(tokensPerSecond: number, clock: Pick<Clock, 'after' | 'nowMs'>) {
    this.#clock = clock;
    this.#perSecond = tokensPerSecond;
    this.#held = this.burst;
    this.#atMs = clock.nowMs();
  }

  get tokensPerSecond(): number {
    return this.#perSecond;
  }

  /** Holds from now on, also for who waits. */
  set tokensPerSecond(tokensPerSecond: number) {
    this.#refill();
    this.#perSecond = tokensPerSecond;
    this.#held = Math.min(this.#held, this.burst);
    this.#arm();
  }

  /** The tokens that may go at once after a rest: 4, or those of a tenth of a second if these are more. */
  get burst(): number {
    return Math.max(minBurstTokens, (this.#perSecond * burstMs) / 1000);
  }

  /** In how many milliseconds the pace is as new, if nothing goes meanwhile. */
  get freshInMs(): number {
    this.#refill();
    return Math.ceil(((this.burst - this.#held) / this.#perSecond) * 1000);
  }

  /** Whether so many tokens may go now: nobody waits before them. */
  isFree(tokens: number): boolean {
    this.#refill();
    return this.#turns.length === 0 && this.#missing(tokens) <= 0;
  }

  /** The tokens go now. Ask `isFree` first. */
  take(share: PaceShare, tokens: number): void {
    const start = Math.max(this.#servedTo, share.servedTo);
    this.#servedTo = start;
    const counted = Math.min(tokens, this.burst + (this.#perSecond * maxDebtMs) / 1000);
    share.servedTo = start + counted;
    this.#held -= counted;
  }

  /** Calls back when so many tokens have gone. A share waits for one turn at a time. */
  wait(share: PaceShare, tokens: number, go: () => void): void {
    const start = Math.max(this.#servedTo, share.servedTo);
    const at = this.#turns.findLastIndex((turn) => turn.start <= start) + 1;
    this.#turns.splice(at, 0, { share, tokens, start, go });
    if (at === 0) this.#arm();
  }

  /** Gives up the turn that a share waits for, if it does. Its callback is not called. */
  leave(share: PaceShare): void {
    const at = this.#turns.findIndex((turn) => turn.share === share);
    if (at === -1) return;
    this.#turns.splice(at, 1);
    if (at === 0) this.#arm();
  }

  #refill(): void {
    const nowMs = this.#clock.nowMs();
    this.#held = Math.min(this.burst, this.#held + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
  }

  /** The tokens that have to come back before so many may go; 0 or less: they may go. */
  #missing(tokens: number): number {
    return Math.min(tokens, this.burst) - this.#held - lossOfFloats;
  }

  /** Sets the timer for the turn that is next. */
  #arm(): void {
    if (this.#isServing) return;
    this.#timer?.stop();
    this.#timer = undefined;
    const [next] = this.#turns;
    if (next === undefined) return;
    this.#refill();
    const waitMs = Math.ceil((this.#missing(next.tokens) / this.#perSecond) * 1000);
    this.#timer = this.#clock.after(Math.min(maxTimerMs, Math.max(0, waitMs)), this.#serve);
  }

  readonly #serve = (): void => {
    this.#isServing = true;
    try {
      this.#refill();
      for (let [next] = this.#turns; next !== undefined; [next] = this.#turns) {
        if (this.#missing(next.tokens) > 0) break;
        this.#turns.shift();
        this.take(next.share, next.tokens);
        next.go();
      }
    } finally {
      this.#isServing = false;
      this.#arm();
    }
  };
}
