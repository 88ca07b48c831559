import { type Clock, systemClock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';

/** How tokens are bounded. */
export interface SingleUseTokensOptions {
  /** How long a token is good: 1,000 to 600,000 ms. Default: 30,000. */
  readonly maxAgeMs?: number;
  /** Tokens that may be out: 1 to 1,000,000. Default: 10,000. */
  readonly maxTokens?: number;
  /** Time and randomness; default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs' | 'randomBytes'>;
}

interface Issued<T> {
  readonly value: T;
  readonly madeMs: number;
}

/** 128 bits. */
const tokenBytes = 16;

/**
 * Joins a webhook with the socket that follows it. The webhook, whose sender is known, gets a token; the socket shows it
 * once, as a parameter of its start message or in its path. A token that was shown, or is too old, is worth nothing.
 *
 * @example
 * ```ts
 * import { SingleUseTokens } from '@spillway/voice';
 *
 * const tokens = new SingleUseTokens<{ from: string }>();
 * const token = tokens.make({ from: '+15550100' });
 * if (token !== undefined) console.log(tokens.take(token), tokens.take(token)); // { from: '+15550100' } undefined
 * ```
 */
export class SingleUseTokens<T> {
  readonly #maxAgeMs: number;
  readonly #maxTokens: number;
  readonly #clock: Pick<Clock, 'nowMs' | 'randomBytes'>;
  /** The oldest is first. */
  readonly #issued = new Map<string, Issued<T>>();

  /** @throws {SpillwayError} `invalid_option` */
  constructor({ clock = systemClock, maxAgeMs = 30_000, maxTokens = 10_000 }: SingleUseTokensOptions = {}) {
    if (!(maxAgeMs >= 1000 && maxAgeMs <= 600_000))
      throw invalid(`maxAgeMs: expected 1,000 to 600,000 milliseconds, got ${maxAgeMs}.`);
    expectWhole('maxTokens', maxTokens, 1, 1_000_000);
    this.#maxAgeMs = maxAgeMs;
    this.#maxTokens = maxTokens;
    this.#clock = clock;
  }

  /** Tokens that are out and not too old: ≤ `maxTokens` always. */
  get size(): number {
    this.#forgetOld();
    return this.#issued.size;
  }

  /**
   * Makes a token for a value: 22 characters that may stand in a URL. `undefined`: as many as may be are out; the call is to
   * be refused, and not one that came earlier.
   */
  make(value: T): string | undefined {
    this.#forgetOld();
    if (this.#issued.size >= this.#maxTokens) return undefined;
    const token = Buffer.from(this.#clock.randomBytes(tokenBytes)).toString('base64url');
    this.#issued.set(token, { value, madeMs: this.#clock.nowMs() });
    return token;
  }

  /** Takes a token, and returns its value. `undefined`: it is none, it was taken, or it is too old. */
  take(token: string): T | undefined {
    this.#forgetOld();
    const issued = this.#issued.get(token);
    this.#issued.delete(token);
    return issued?.value;
  }

  #forgetOld(): void {
    const oldestMs = this.#clock.nowMs() - this.#maxAgeMs;
    for (const [token, { madeMs }] of this.#issued) {
      if (madeMs >= oldestMs) return;
      this.#issued.delete(token);
    }
  }
}
