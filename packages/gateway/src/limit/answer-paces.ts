import { createTokenEstimate } from '@spillway/core/format/token-estimate';
import type { Format } from '@spillway/core/format/format';
import { PaceBook } from '@spillway/server/limit/pace-book';
import type { StreamPace } from '@spillway/server/limit/stream-pace';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { AnswerLimits, ScopeLimits } from '../config/limits.ts';

/** Whose answers share a pace: a user, a key, a tenant. */
export interface PacedScope {
  /** A name that no other scope has, such as `tenant:clinic`. */
  readonly id: string;
  readonly limits: Pick<ScopeLimits, 'tokensPerSecond'>;
}

/** The paces of all answers of this process. */
export class AnswerPaces {
  readonly #book: PaceBook;

  constructor(clock: ServerClock) {
    this.#book = new PaceBook(clock);
  }

  /** The number of paces that several answers may share. */
  get size(): number {
    return this.#book.size;
  }

  /**
   * The pace of a new answer; `undefined`: nothing slows it. Set it on the stream, which releases it in the end. `scopes`: all
   * that the answer belongs to, the narrowest first.
   */
  open(
    format: Format | undefined,
    answer: AnswerLimits,
    scopes: readonly PacedScope[],
  ): StreamPace | undefined {
    // What is handed on as bytes has no tokens that could be told.
    if (format === undefined) return undefined;
    const shared = scopes.flatMap(({ id, limits: { tokensPerSecond } }) =>
      tokensPerSecond === undefined ? [] : [{ key: id, tokensPerSecond }],
    );
    const { tokensPerSecond } = answer;
    if (tokensPerSecond === undefined && shared.length === 0) return undefined;
    return this.#book.open({ tokensPerSecond, shared, tokensOf: createTokenEstimate(format) });
  }
}
