import type { Format } from '@spillway/core/format/format';
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

/**
 * A limit refuses a request, or ends an answer. A stream that it ends is `cancelled` with the reason `limit`: what waits is
 * still delivered, and behind it the events that make a whole message of it.
 */
export class LimitError extends GatewayError {
  readonly reached: ReachedLimit;
  /** What the headers of its answer say of limits. Default: nothing. */
  standing: LimitStanding | undefined;

  /** `status`: 402 where money is used up, otherwise 429 (the default). */
  constructor(reached: ReachedLimit, message: string, status?: 402 | 429) {
    const { resetMs } = reached;
    super('limit_reached', message, {
      ...(status === undefined ? {} : { status }),
      retryAfterS: resetMs === undefined ? undefined : Math.ceil(resetMs / 1000),
    });
    this.reached = reached;
    // SDKs try again by themselves within a minute. What comes back later only costs both sides more refusals.
    this.isFinal =
      reached.scope === 'answer' || status === 402 || (resetMs !== undefined && resetMs > maxRetryMs);
  }

  override answer(format: Format, requestId?: string): ErrorAnswer {
    const answer = super.answer(format, requestId);
    if (this.standing === undefined) return answer;
    return { ...answer, headers: { ...answer.headers, ...limitHeaders(format, this.standing) } };
  }
}

/** The longest wait after which the official SDKs try again. */
const maxRetryMs = 60_000;
