import type { Quota, QuotaState } from '@spillway/core';
import { GatewayError } from '@spillway/server/errors';
import { LimitError, type LimitScope, type ReachedLimit } from '@spillway/server/limit/limit-error';
import type { Allowed, LimitStanding } from '@spillway/server/limit/limit-headers';
import { rateWords } from './rate-words.ts';
import type { BudgetUnit, Scope } from './scope.ts';

/** A quota that refuses, with how it stands. */
export interface RefusedQuota {
  readonly scope: Pick<Scope, 'kind' | 'whose'>;
  /** Its setting. */
  readonly name: string;
  readonly quota: Quota;
  readonly unit: BudgetUnit;
  readonly state: QuotaState;
  /** The least of a budget that a request needs, where it has not begun; `undefined`: that is not why. */
  readonly needed?: number | undefined;
  /** The tokens that the request allows an answer in one piece, where `needed` has them in it. Default: `minAnswerTokens`. */
  readonly allowedTokens?: number | undefined;
  /** Whether an answer ends because nothing is left of a budget. Default: false. */
  readonly isUsedUp?: boolean;
  /** In how many milliseconds another try may succeed; `undefined`: that depends on others. */
  readonly retryAfterMs: number | undefined;
}

/** What messages are written with. */
export interface MessageContext {
  readonly currency: string;
  /** The time now, in milliseconds since 1970. */
  readonly dateMs: number;
}

const budgetWords: Readonly<Record<string, { readonly now: string; readonly each: string }>> = {
  minute: { now: ' this minute', each: ' a minute' },
  day: { now: ' today', each: ' a day' },
  month: { now: ' this month', each: ' a month' },
};

/** When to try again where only running streams are in the way: they end at any time. */
const othersRetryS = 1;

/**
 * Whether a budget refuses a request only because running streams have reserved the rest of it, of which some will come back.
 */
export function isReservedByOthers(quota: Quota, { used }: QuotaState, needed: number | undefined): boolean {
  return quota.kind === 'budget' && needed !== undefined && used + needed <= quota.limit;
}

/** Whether a request needs more of a budget than there ever is. */
function neverFits({ needed, quota }: RefusedQuota): boolean {
  return quota.kind === 'budget' && needed !== undefined && needed > quota.limit;
}

/** The error of a quota that refuses a request or ends an answer: it names the limit, its value, the use and the reset. */
export function quotaError(refused: RefusedQuota, context: MessageContext): LimitError {
  const { name, quota, retryAfterMs, scope, state, unit } = refused;
  const value = quota.kind === 'rate' ? quota.burst : quota.limit;
  const isNever = neverFits(refused);
  const isReserved = isReservedByOthers(quota, state, refused.needed);
  const awaitsOthers = isReserved || quota.kind === 'places';
  const budgetResetMs = quota.kind === 'budget' && state.used > 0 ? state.resetMs : undefined;
  const resetMs = isNever || awaitsOthers ? undefined : (retryAfterMs ?? budgetResetMs);
  const all = state.used + state.reserved;
  // What the answer itself has used counts, too.
  const used = refused.isUsedUp === true ? Math.max(all, value) : all;
  const reached: ReachedLimit = { scope: scope.kind, name, value, used, resetMs };
  const isMoney = quota.kind === 'budget' && unit === 'cost';
  const message = `${ownerWords(scope.kind, scope.whose)} ${useWords(refused, context.currency)} (${name}).`;
  const error = new LimitError(reached, `${message}${resetWords(refused, resetMs, context.dateMs)}`, {
    status: isMoney && !isReserved ? 402 : 429,
    retryAfterS: awaitsOthers ? othersRetryS : undefined,
    isNever,
  });
  error.standing = standingOf(refused, context.dateMs);
  return error;
}

/** What an answer used up by itself. */
export function answerError(name: 'answerMs' | 'answerTokens', value: number, used: number): LimitError {
  const message =
    name === 'answerTokens'
      ? `The answer has ${used} tokens, of at most ${value} (answerTokens).`
      : `The answer took ${used} ms, of at most ${value} (answerMs).`;
  return new LimitError({ scope: 'answer', name, value, used, resetMs: undefined }, message);
}

/** The error of a conversation or a call that was as long as an answer may be (`answerMs`). */
export function lastedError(value: number, used: number): LimitError {
  const message = `The conversation has lasted ${used} ms, of at most ${value} (answerMs).`;
  return new LimitError({ scope: 'answer', name: 'answerMs', value, used, resetMs: undefined }, message);
}

/** The error of an answer that did not begin in its time (`answerMs`). The model is stopped. */
export function lateError(value: number, used: number): LimitError {
  const message = `The answer had not begun after ${used} ms, of at most ${value} (answerMs). One in one piece begins when it is whole: ask for less, or for a stream, which is ended with what has come.`;
  const reached: ReachedLimit = { scope: 'answer', name: 'answerMs', value, used, resetMs: undefined };
  return new LimitError(reached, message, { status: 504 });
}

/** The error of a request that cannot be counted. */
export function unavailableError(cause: Error): GatewayError {
  const message =
    'The store of limits does not answer, or is full, and requests are not served uncounted (whenLimitStoreFails).';
  return new GatewayError('limits_unavailable', message, { cause, retryAfterS: 1 });
}

function ownerWords(kind: LimitScope, whose: string): string {
  switch (kind) {
    case 'tenant':
      return whose === '' ? 'Who asks without a key' : `The tenant ${whose}`;
    case 'key':
      return `The key ${whose}`;
    case 'user':
      return 'This end user';
    case 'session':
      return 'This conversation';
    default:
      return 'The answer';
  }
}

function useWords(refused: RefusedQuota, currency: string): string {
  const { allowedTokens, isUsedUp = false, needed = 0, quota, state, unit } = refused;
  switch (quota.kind) {
    case 'rate':
      return `may send ${rateWords(quota)}, and has sent them`;
    case 'places':
      return `may have ${quota.limit} ${quota.limit === 1 ? 'stream' : 'streams'} at once, and has ${state.used}`;
    default: {
      const write = (count: number): string => (unit === 'cost' ? money(count) : String(count));
      const what = unit === 'cost' ? (currency === '' ? 'of its money' : currency) : 'tokens';
      const { each = '', now = '' } =
        typeof quota.window === 'string' ? (budgetWords[quota.window] ?? {}) : {};
      const answer =
        allowedTokens === undefined
          ? 'minAnswerTokens'
          : `the ${allowedTokens} tokens that it allows its answer in one piece (max_tokens or the like)`;
      const needs = `this request needs ${write(needed)}, with ${answer}`;
      if (neverFits(refused))
        return `may use ${write(quota.limit)} ${what}${each}, and ${needs}: it never fits`;
      if (isUsedUp) return `has used up its ${write(quota.limit)} ${what}${now}`;
      const reserved = state.reserved > 0 ? `, and ${write(state.reserved)} are reserved` : '';
      const isLeft = state.used < quota.limit;
      const left = write(Math.max(0, quota.limit - state.used - state.reserved));
      const need = isLeft && needed > 0 ? `; ${needs}, and ${left} are left` : '';
      return `has used ${write(state.used)} of ${write(quota.limit)} ${what}${now}${reserved}${need}`;
    }
  }
}

function resetWords(refused: RefusedQuota, resetMs: number | undefined, dateMs: number): string {
  const { allowedTokens, needed, quota, state } = refused;
  if (neverFits(refused) && allowedTokens !== undefined)
    return ' A smaller max_tokens may fit, or a stream of events, which is ended with what has come.';
  if (neverFits(refused)) return ' A shorter prompt may fit, or a higher limit.';
  if (isReservedByOthers(quota, state, needed))
    return ' What running answers do not use comes back when they end: try again soon.';
  if (resetMs === undefined) return quota.kind === 'places' ? ' Try again when one has ended.' : '';
  if (resetMs < 60_000) return ` Try again in ${Math.max(1, Math.ceil(resetMs / 1000))} s.`;
  // Windows of the calendar begin with a minute. How long that is was measured a moment ago, so the sum is not exact.
  const stepMs = quota.kind === 'budget' && typeof quota.window === 'string' ? 60_000 : 1000;
  const at = new Date(Math.round((dateMs + resetMs) / stepMs) * stepMs).toISOString().replace('.000', '');
  return ` It begins again at ${at}.`;
}

/** Millionths of a currency as decimal text. */
function money(millionths: number): string {
  const digits = (millionths / 1_000_000).toFixed(6).replace(/0{1,4}$/, '');
  return digits;
}

function standingOf({ quota, state, unit }: RefusedQuota, dateMs: number): LimitStanding | undefined {
  const allowed = allowedOf(quota, state);
  if (allowed === undefined || unit === 'cost') return undefined;
  return quota.kind === 'rate' ? { requests: allowed, dateMs } : { tokens: allowed, dateMs };
}

/** How a rate or a budget stands, for headers. */
export function allowedOf(quota: Quota, { reserved, resetMs = 0, used }: QuotaState): Allowed | undefined {
  if (quota.kind === 'places') return undefined;
  const limit = quota.kind === 'rate' ? quota.burst : quota.limit;
  return { limit, remaining: Math.max(0, limit - used - reserved), resetMs };
}
