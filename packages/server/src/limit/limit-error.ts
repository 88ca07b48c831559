import type { Format } from '@spillway/core/format/format';
import type { CutReason } from '@spillway/core/session';
import { type ErrorAnswer, GatewayError } from '../errors.ts';
import { limitHeaders, type LimitStanding } from './limit-headers.ts';

/** Whose limit it is. `answer`: of each answer. `user` and `session`: an end user and a conversation of a tenant. */
export type LimitScope = 'answer' | 'key' | 'session' | 'tenant' | 'user';

/** A limit that is reached. Nothing in it is secret: users and sessions are not named. */
export interface ReachedLimit {
  readonly scope: LimitScope;
  /** Its setting, such as `tokensPerDay`. */
  readonly name: string;
  /** What it allows, in the unit of its setting. */
  readonly value: number;
  /** What is used of it, reservations of others included. */
  readonly used: number;
  /** In how many milliseconds it begins again, or something comes back; `undefined`: that depends on others, or never. */
  readonly resetMs: number | undefined;
}

/** What more is known of a refusal. */
export interface LimitErrorOptions {
  /** 402 where money is used up, 504 where an answer did not begin in its time. Default: 429. */
  readonly status?: 402 | 429 | 504 | undefined;
  /** When another try makes sense, where `resetMs` is not known. Default: nothing says so. */
  readonly retryAfterS?: number | undefined;
  /** Whether the same request is refused whenever it comes. Default: false. */
  readonly isNever?: boolean | undefined;
}

/**
 * A limit refuses a request, or ends an answer. A stream that it ends is `cancelled` with a {@link CutReason}: what waits is
 * still delivered, and behind it the events that make a whole message of it.
 */
export class LimitError extends GatewayError {
  readonly reached: ReachedLimit;
  /** What readers of an answer that it ends are told. */
  readonly cutReason: CutReason = 'limit';
  /** What the headers of its answer say of limits. Default: nothing. */
  standing: LimitStanding | undefined;

  constructor(reached: ReachedLimit, message: string, options: LimitErrorOptions = {}) {
    const { resetMs } = reached;
    const { isNever = false, status } = options;
    super('limit_reached', message, {
      ...(status === undefined ? {} : { status }),
      retryAfterS: resetMs === undefined ? options.retryAfterS : Math.ceil(resetMs / 1000),
    });
    this.reached = reached;
    // SDKs try again by themselves within a minute. What comes back later only costs both sides more refusals.
    this.isFinal =
      isNever ||
      reached.scope === 'answer' ||
      status === 402 ||
      (resetMs !== undefined && resetMs > maxRetryMs);
  }

  override answer(format: Format, requestId?: string): ErrorAnswer {
    const answer = super.answer(format, requestId);
    if (this.standing === undefined) return answer;
    return { ...answer, headers: { ...answer.headers, ...limitHeaders(format, this.standing) } };
  }
}

/** What readers are told of an answer that was cut with that error. */
export function cutReasonOf(error: Error): CutReason {
  return error instanceof LimitError ? error.cutReason : 'limit';
}

/** The longest wait after which the official SDKs try again. */
const maxRetryMs = 60_000;
