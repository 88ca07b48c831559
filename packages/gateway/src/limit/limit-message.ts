import type { Quota, QuotaState } from '@spillway/core';
import { LimitError, type LimitScope, type ReachedLimit } from '@spillway/server/limit/limit-error';
import type { Allowed, LimitStanding } from '@spillway/server/limit/limit-headers';
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

const budgetWords: Readonly<Record<string, string>> = {
  minute: 'this minute',
  day: 'today',
  month: 'this month',
};

/** The error of a quota that refuses a request or ends an answer: it names the limit, its value, the use and the reset. */
export function quotaError(refused: RefusedQuota, context: MessageContext): LimitError {
  const { name, quota, retryAfterMs, scope, state, unit } = refused;
  const value = quota.kind === 'rate' ? quota.burst : quota.limit;
  const budgetResetMs = quota.kind === 'budget' && state.used > 0 ? state.resetMs : undefined;
  const resetMs = retryAfterMs ?? budgetResetMs;
  const all = state.used + state.reserved;
  // What the answer itself has used counts, too.
  const used = refused.isUsedUp === true ? Math.max(all, value) : all;
  const reached: ReachedLimit = { scope: scope.kind, name, value, used, resetMs };
  const isMoney = quota.kind === 'budget' && unit === 'cost';
  const message = `${ownerWords(scope.kind, scope.whose)} ${useWords(refused, context.currency)} (${name}).`;
  const error = new LimitError(
    reached,
    `${message}${resetWords(quota.kind, resetMs, context.dateMs)}`,
    isMoney ? 402 : 429,
  );
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

function useWords(
  { isUsedUp = false, needed = 0, quota, state, unit }: RefusedQuota,
  currency: string,
): string {
  switch (quota.kind) {
    case 'rate':
      return `may send ${quota.perSecond} requests a second, ${quota.burst} at once, and has sent them`;
    case 'places':
      return `may have ${quota.limit} streams at once, and has ${state.used}`;
    default: {
      const write = (count: number): string => (unit === 'cost' ? money(count) : String(count));
      const what = unit === 'cost' ? (currency === '' ? 'of its money' : currency) : 'tokens';
      const when = typeof quota.window === 'string' ? ` ${budgetWords[quota.window] ?? ''}` : '';
      if (isUsedUp) return `has used up its ${write(quota.limit)} ${what}${when}`;
      const reserved = state.reserved > 0 ? `, and ${write(state.reserved)} are reserved` : '';
      const isLeft = state.used + state.reserved < quota.limit;
      const need = isLeft && needed > 0 ? `; this request needs ${write(needed)}, with minAnswerTokens` : '';
      return `has used ${write(state.used)} of ${write(quota.limit)} ${what}${when}${reserved}${need}`;
    }
  }
}

function resetWords(kind: Quota['kind'], resetMs: number | undefined, dateMs: number): string {
  if (resetMs === undefined) return kind === 'places' ? ' Try again when one has ended.' : '';
  if (resetMs < 60_000) return ` Try again in ${Math.max(1, Math.ceil(resetMs / 1000))} s.`;
  const at = new Date(Math.ceil((dateMs + resetMs) / 1000) * 1000).toISOString().replace('.000', '');
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
