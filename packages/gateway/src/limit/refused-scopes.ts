import type { LimitError } from '@spillway/server/limit/limit-error';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { type MessageContext, quotaError, type RefusedQuota } from './limit-message.ts';
import type { Scope } from './scope.ts';

/** The scopes whose refusals are remembered. Beyond that the oldest is forgotten, and asks the store again. */
const maxScopes = 10_000;
/** How long nobody asks the store again. It may know better by then: one that lost its data has nothing used. */
const askEveryMs = 5000;
/** How long an error is used again: what it says of times is as old. */
const writtenMs = 100;

type ScopeClock = Pick<ServerClock, 'dateMs' | 'nowMs'>;

/** A refusal that is remembered. */
interface Remembered extends RefusedQuota {
  readonly atMs: number;
  readonly untilMs: number;
  /** The same by the date. */
  readonly untilDateMs: number;
  /** When one request may ask the store again. */
  askAtMs: number;
  /** The latest error, and until when it is used again. */
  written: { readonly error: LimitError; readonly untilMs: number } | undefined;
}

/**
 * Remembers which scopes are refused for a while yet, whatever they ask for. A tenant that hammers is answered from here:
 * its bodies are not read, and the store is not asked, but for one request every five seconds.
 */
export class RefusedScopes {
  readonly #refused = new Map<string, Remembered>();

  /** Remembers a refusal if it is sure for some time. `minTokens`: what the smallest request wants of a budget. */
  note(
    scope: Scope,
    refused: RefusedQuota,
    minTokens: number,
    clock: Pick<ServerClock, 'dateMs' | 'nowMs'>,
  ): void {
    const { quota, retryAfterMs, state, unit } = refused;
    if (retryAfterMs === undefined || retryAfterMs <= 0) return;
    // What others have reserved may come back. What is spent does not. What a request costs depends on its model.
    if (quota.kind === 'places') return;
    const least = unit === 'tokens' ? minTokens : 1;
    if (quota.kind === 'budget') {
      if (quota.limit - state.used >= least) return;
    }
    this.#refused.delete(scope.id);
    const [oldest] = this.#refused.keys();
    if (this.#refused.size >= maxScopes && oldest !== undefined) this.#refused.delete(oldest);
    const atMs = clock.nowMs();
    this.#refused.set(scope.id, {
      ...refused,
      needed: least,
      allowedTokens: undefined,
      atMs,
      untilMs: atMs + retryAfterMs,
      untilDateMs: clock.dateMs() + retryAfterMs,
      askAtMs: atMs + askEveryMs,
      written: undefined,
    });
  }

  /** The error of a scope that is still refused; `undefined`: it may ask. */
  errorOf(
    { budgets, id, rates }: Pick<Scope, 'budgets' | 'id' | 'rates'>,
    clock: ScopeClock,
    context: () => MessageContext,
  ): LimitError | undefined {
    const refused = this.#of({ budgets, id, rates });
    if (refused === undefined) return undefined;
    const nowMs = clock.nowMs();
    // While a machine sleeps its time may stand still, and its day ends all the same.
    if (nowMs >= refused.untilMs || clock.dateMs() >= refused.untilDateMs) {
      this.#refused.delete(id);
      return undefined;
    }
    if (nowMs >= refused.askAtMs) return undefined;
    const { written } = refused;
    if (written !== undefined && nowMs < written.untilMs) return written.error;
    const { resetMs } = refused.state;
    const agoMs = nowMs - refused.atMs;
    const state = {
      ...refused.state,
      resetMs: resetMs === undefined ? undefined : Math.max(0, resetMs - agoMs),
    };
    const error = quotaError({ ...refused, state, retryAfterMs: refused.untilMs - nowMs }, context());
    refused.written = { error, untilMs: nowMs + writtenMs };
    return error;
  }

  /** A request of these scopes asks the store. Until it has the answer, others are refused as before, for a while. */
  asks(
    scopes: readonly Pick<Scope, 'budgets' | 'id' | 'rates'>[],
    { nowMs }: Pick<ScopeClock, 'nowMs'>,
  ): void {
    for (const scope of scopes) {
      const refused = this.#of(scope);
      if (refused !== undefined) refused.askAtMs = nowMs() + askEveryMs;
    }
  }

  /** The store has granted a request of these scopes. */
  forget(scopes: readonly Pick<Scope, 'budgets' | 'id' | 'rates'>[]): void {
    for (const scope of scopes) if (this.#of(scope) !== undefined) this.#refused.delete(scope.id);
  }

  /** A request that needs nothing of a budget or a rate is not refused by it, and does not ask for it. */
  #of({ budgets, id, rates }: Pick<Scope, 'budgets' | 'id' | 'rates'>): Remembered | undefined {
    const refused = this.#refused.get(id);
    const isHeld = [...budgets, ...rates].some(({ quota }) => quota.key === refused?.quota.key);
    return isHeld ? refused : undefined;
  }

  /** Limits may be higher now. */
  clear(): void {
    this.#refused.clear();
  }
}
