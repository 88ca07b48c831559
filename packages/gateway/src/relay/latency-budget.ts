import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '@spillway/server/errors';
import { LimitError } from '@spillway/server/limit/limit-error';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { BodyDeadline } from '../http/receive-body.ts';

const minBudgetMs = 100;
const maxBudgetMs = 3_600_000;

/**
 * How long an answer may take that a client asks for by `Spillway-Budget-Ms`, from its request to its end; `undefined`: the client
 * does not ask.
 *
 * @throws {GatewayError} `invalid_request`
 */
export function readBudgetMs(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['spillway-budget-ms'];
  if (text === undefined) return undefined;
  const ms = Number(text);
  if (/^\d{1,7}$/.test(text.toString()) && ms >= minBudgetMs && ms <= maxBudgetMs) return ms;
  throw new GatewayError(
    'invalid_request',
    `Spillway-Budget-Ms: expected ${minBudgetMs} to ${maxBudgetMs} ms, got ${JSON.stringify(text)}.`,
  );
}

/**
 * The end of an upload that spends the whole budget of its answer: whoever sends its body slowly would otherwise hold what it has
 * sent for longer than anybody waits for an answer. `fromMs`: when the head of the request came, on the clock.
 */
export function uploadDeadline(
  ms: number | undefined,
  fromMs: number,
  clock: Pick<ServerClock, 'nowMs'>,
): BodyDeadline | undefined {
  if (ms === undefined) return undefined;
  const usedMs = (): number => Math.round(clock.nowMs() - fromMs);
  return { inMs: Math.max(0, ms - usedMs()), errorOf: () => spent(ms, usedMs()) };
}

/** How long one answer may take, from the head of its request to its end. Its end has to be told. */
export class LatencyBudget {
  readonly #ms: number;
  readonly #fromMs: number;
  readonly #clock: ServerClock;
  readonly #timer: { stop(): void };

  /**
   * When it is spent, the stream is ended: with a whole message if its answer has begun, with 504 if not. `fromMs`: when the head of
   * its request came, on the clock.
   */
  constructor(stream: GatewayStream, ms: number, fromMs: number, clock: ServerClock) {
    this.#ms = ms;
    this.#fromMs = fromMs;
    this.#clock = clock;
    this.#timer = clock.after(this.leftMs, () => stream.cut(this.#spent(), stream.limits?.limit?.counted));
  }

  get leftMs(): number {
    return Math.max(0, this.#ms - this.#usedMs);
  }

  /** @throws {LimitError} if it is spent before anybody was asked: by the upload of the request. */
  throwIfSpent(): void {
    if (this.leftMs === 0) throw this.#spent();
  }

  /** The error of a target that is not asked, because its first token is expected too late. */
  tooShort(expectedMs: number): LimitError {
    const words = `The answer was not asked for: its first token is expected in ${Math.ceil(expectedMs)} ms, and ${this.leftMs} are left of its budget of ${this.#ms}`;
    return budgetError(words, this.#ms, this.#usedMs);
  }

  /** The error of a target that was asked or waited for, and has used half of the time although there is another one. */
  shareSpent(): LimitError {
    return budgetError(
      `A target had not answered after ${this.#usedMs} ms, with another one to ask`,
      this.#ms,
      this.#usedMs,
    );
  }

  /** The answer has ended, in whatever way. */
  end(): void {
    this.#timer.stop();
  }

  #spent(): LimitError {
    return spent(this.#ms, this.#usedMs);
  }

  get #usedMs(): number {
    return Math.round(this.#clock.nowMs() - this.#fromMs);
  }
}

function spent(ms: number, usedMs: number): LimitError {
  return budgetError(`The answer took ${usedMs} ms, of at most ${ms}`, ms, usedMs);
}

function budgetError(words: string, value: number, used: number): LimitError {
  const reached = { scope: 'answer', name: 'budgetMs', value, used, resetMs: undefined } as const;
  const message = `${words} (Spillway-Budget-Ms, or budgetMs of its model).`;
  return new LimitError(reached, message, { status: 504 });
}

/** The longest time between two writes to a reader that asks for none. */
const maxMergeMs = 250;
/** A part of the budget that may pass unseen. */
const mergePart = 1 / 200;
/** What a stream of text has at most in a millisecond, in bytes of its events. */
const bytesPerMs = 32;
const minWindowBytes = 16_384;

/**
 * The time between two writes that a budget asks for, in milliseconds: with a short one text has to be fresh, with a long one few
 * writes are better. 0 for up to two seconds, 250 from 50 seconds on.
 */
export function mergeMsFor(budgetMs: number): number {
  const ms = Math.min(maxMergeMs, Math.round(budgetMs * mergePart));
  return ms <= 10 ? 0 : ms;
}

/** The window of a stream with a budget, in bytes: what a model can say in that time at most, and never more than `windowBytes`. */
export function windowBytesFor(budgetMs: number, windowBytes: number): number {
  return Math.min(windowBytes, Math.max(minWindowBytes, budgetMs * bytesPerMs));
}
