import type { Format, FormatName, TokenUsage } from '@spillway/core/format/format';
import { createTokenEstimate } from '@spillway/core/format/token-estimate';
import { SpillwayError } from '@spillway/core';
import type { LimitAnswer } from '@spillway/core';
import type { LimitError } from '@spillway/server/limit/limit-error';
import { limitHeaders, type LimitStanding } from '@spillway/server/limit/limit-headers';
import type { StreamPace } from '@spillway/server/limit/stream-pace';
import type { LargeEvents, StreamLimit } from '@spillway/server/limit/stream-limit';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { TenantLimits } from '../config/limits.ts';
import { AnswerCount } from './answer-count.ts';
import { grantedStanding } from './granted-standing.ts';
import { isInvalid } from './invalid-numbers.ts';
import { answerError, isReservedByOthers, lateError, unavailableError } from './limit-message.ts';
import type { CountedTokens, LeaseHost } from './lease-host.ts';
import type { LeaseTerms, RequestLeaseOptions } from './lease-terms.ts';
import type { LimitedTarget } from './limited-request.ts';
import type { PlaceWaiter } from './place-queue.ts';
import type { Scope } from './scope.ts';
import type { Spending } from './spending.ts';
import { countedTokens, type Spender, spenderOf } from './spender.ts';
import { answerTokens } from './token-estimate.ts';
import type { WholeAnswer } from './whole-answer.ts';

/**
 * What one request holds of its limits: places, and slices of budgets. It is opened before the request has a place of
 * maxStreams, spends as the answer comes, and settles with its end, exactly once. One file, because each of these steps
 * may end the request, and a late answer of the store may meet any of them.
 */
export class RequestLease implements StreamLimit {
  readonly tenant: string;
  readonly #host: LeaseHost<RequestLease>;
  readonly #name: string;
  /** Until the lease is open, those of the latest question. Then they stay. */
  #terms: LeaseTerms;
  readonly #termsNow: RequestLeaseOptions<RequestLease>['termsNow'];
  readonly #limits: RequestLeaseOptions<RequestLease>['limits'];
  readonly #format: FormatName | undefined;
  readonly #whole: WholeAnswer | undefined;
  readonly #startedMs: number;
  #spender: Spender | undefined;
  /** `new`: nothing was taken. `waiting`: a place is awaited. `open`: everything was taken. */
  #state: 'new' | 'open' | 'settled' | 'waiting' = 'new';
  /** The answer of the store to the lease's latest question. */
  #asked: Promise<void> | undefined;
  #isAsking = false;
  readonly #count = new AnswerCount();
  #standing: LimitStanding | undefined;
  /** The place that is awaited, and by which terms. */
  #awaited: { readonly key: string; readonly error: LimitError; readonly terms: LeaseTerms } | undefined;
  /** A limit has ended the answer: nothing more is asked for. */
  #isCut = false;
  isShort = false;
  onRoom: (() => void) | undefined;

  constructor({
    format,
    host,
    limits,
    name,
    tenant,
    terms,
    termsNow,
    whole,
  }: RequestLeaseOptions<RequestLease>) {
    this.tenant = tenant;
    this.#whole = whole;
    this.#host = host;
    this.#name = name;
    this.#terms = terms;
    this.#termsNow = termsNow;
    this.#limits = limits;
    this.#format = format;
    this.#startedMs = host.clock.nowMs();
    this.#count.awaits(limits.answer.tokens ?? Infinity);
  }

  /**
   * How fast the answer may go; `undefined`: nothing slows it, also where it is handed on as bytes, because these have no
   * tokens that could be told. The stream releases it in the end.
   */
  openPace(format: Format | undefined): StreamPace | undefined {
    if (format === undefined) return undefined;
    const shared = this.scopes
      .toReversed()
      .flatMap(({ id, tokensPerSecond }) =>
        tokensPerSecond === undefined ? [] : [{ key: id, tokensPerSecond }],
      );
    const { tokensPerSecond } = this.#limits.answer;
    if (tokensPerSecond === undefined && shared.length === 0) return undefined;
    return this.#host.paces.open({ tokensPerSecond, shared, tokensOf: createTokenEstimate(format) });
  }

  /** How long the answer may take; `undefined`: nothing bounds it. */
  get maxMs(): number | undefined {
    return this.#limits.answer.ms;
  }

  /** Who gets the next free place of maxStreams. */
  get priority(): TenantLimits['priority'] {
    return this.#limits.priority;
  }

  /** The lease's name in the store, if it has anything there. */
  get openName(): string | undefined {
    return this.#state === 'open' && this.#hasQuotas ? this.#name : undefined;
  }

  /** Why the lease waits for a place; `undefined`: it does not. */
  get awaitedError(): LimitError | undefined {
    return this.#awaited?.error;
  }

  /** Whose limits it is held against. */
  get scopes(): readonly Scope[] {
    return this.#terms.scopes;
  }

  /** What its parts spend by leases of their own, and it does not. */
  get parts(): LeaseTerms['parts'] {
    return this.#terms.parts;
  }

  /** The keys of what others may wait for when the lease ends: places, and what it has reserved of budgets. */
  get sharedKeys(): string[] {
    return this.scopes.flatMap(({ budgets, places }) =>
      [...places, ...budgets].map(({ quota }) => quota.key),
    );
  }

  /**
   * Takes everything that the request needs, or begins to wait for a place: `enter` then waits for it.
   *
   * @throws {LimitError} at once, if anything else refuses or too many wait.
   * @throws {GatewayError} `limits_unavailable`: the store is away, and such requests are refused.
   */
  async open(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'waiting';
    this.#renewTerms();
    const queued = this.#host.queue.size > 0 ? this.#fullPlaces() : undefined;
    if (queued === undefined) await this.#try(signal);
    else this.#await(queued.key, queued.error);
  }

  /** A target is asked, of several. It costs what it did when the lease was opened, so at most as much as was reserved by. */
  asks(target: LimitedTarget): void {
    if (this.#state !== 'open') return;
    this.#spending.costs(this.#terms.priceAt(target));
    this.#look();
  }

  /** Opens the lease if that was not done, and waits for its turn. */
  async enter(stream: GatewayStream): Promise<void> {
    await this.enterAs(spenderOf(stream, this.#format));
  }

  /** {@link enter}, of whoever is no stream. */
  async enterAs(spender: Spender): Promise<void> {
    this.#spender = spender;
    const { signal } = spender;
    try {
      await this.open(signal);
      while (this.#state === 'waiting') {
        await this.#turn(signal);
        signal.throwIfAborted();
        await this.#try(signal);
      }
      signal.throwIfAborted();
    } finally {
      this.#leaveQueue();
    }
  }

  received(events: number, bytes: number, large: LargeEvents): void {
    const estimate = answerTokens(this.#format ?? 'openai-chat', events, bytes, large);
    if (estimate >= this.#count.lookAt) this.#lookAtAnswer(estimate);
  }

  /**
   * A conversation has used so much in all, says its provider. What comes between two reports is not known, so with each the
   * next slice is asked for.
   */
  used({ inputTokens = 0, outputTokens = 0 }: TokenUsage): void {
    if (this.#state !== 'open' || this.#isCut || !this.#spending.hasBudgets) return;
    this.#count.total(outputTokens);
    this.#spending.countInput(inputTokens, this.#count.tokens);
    if (!this.#isAsking) this.#ask();
  }

  tick(nowMs: number): LimitError | undefined {
    if (this.#state === 'settled') return undefined;
    const { ms } = this.#limits.answer;
    const lastedMs = nowMs - this.#startedMs;
    const spender = this.#spender;
    const isOver = ms !== undefined && lastedMs >= ms && (spender?.mayBeCut ?? true);
    const isLate = this.#state === 'waiting' && (isOver || lastedMs >= this.#host.waitTimeoutMs);
    // Behind a reload the store is asked once more: what the lease waits for may be there now.
    if (isLate && this.#awaited?.terms.isInForce() === true) return this.#refusedBy(this.#awaited.error);
    if (!isOver) return undefined;
    const hasBegun = spender?.hasBegun === true;
    return hasBegun ? answerError('answerMs', ms, Math.round(lastedMs)) : lateError(ms, Math.round(lastedMs));
  }

  get counted(): TokenUsage {
    const { inputTokens } = this.#spending;
    const outputTokens = this.#count.tokensAt(this.#spender?.estimatedTokens ?? 0);
    return {
      // A prompt has tokens. That there are none of it says that they could not be counted.
      inputTokens: inputTokens === 0 ? undefined : inputTokens,
      outputTokens: Math.max(this.#count.tokens, outputTokens),
    };
  }

  headers(format: Format): Record<string, string> {
    return this.#standing === undefined ? {} : limitHeaders(format, this.#standing);
  }

  /**
   * The stream has ended: what it used is counted, with the provider's numbers where they came. Returns what was counted;
   * `undefined`: the lease had nothing, or has settled before.
   */
  settle(usage: TokenUsage | undefined): CountedTokens | undefined {
    if (this.#state === 'settled') return undefined;
    const wasOpen = this.#state === 'open';
    this.#state = 'settled';
    this.#leaveQueue();
    this.onRoom = undefined;
    if (!wasOpen) return undefined;
    const used = countedTokens(usage, this.#spender, this.#spending.inputTokens, (estimate) =>
      Math.ceil(this.#count.tokensAt(estimate) * (this.#whole?.madeForEach ?? 1)),
    );
    const claims = this.#spending.lastClaims(used.inputTokens, used.outputTokens);
    const { price } = this.#spending;
    const counted: CountedTokens = { ...used, price };
    this.#host.settle({
      ...counted,
      lease: this,
      name: this.#hasQuotas ? this.#name : undefined,
      claims,
      excess: this.#spending.excess,
      // A question that is on its way would open the lease again.
      after: this.#asked,
    });
    return counted;
  }

  /** Asks the store for everything: once, and again where a reload has replaced the numbers that refuse. */
  async #try(signal: AbortSignal): Promise<void> {
    const host = this.#host;
    this.#renewTerms();
    if (!this.#hasQuotas) {
      this.#opened();
      return;
    }
    const claims = this.#spending.firstClaims(this.#whole?.atLeast ?? this.#least, this.#whole?.want);
    let answer: LimitAnswer;
    try {
      answer = await host.store.open(
        {
          lease: this.#name,
          leaseMs: host.leaseMs,
          rates: this.scopes.flatMap(({ rates }) => rates.map(({ quota }) => quota)),
          places: this.scopes.flatMap(({ places }) => places.map(({ quota }) => quota)),
          budgets: claims,
        },
        signal,
      );
    } catch (error) {
      this.#storeFailed(error, signal);
      return;
    }
    if (this.#isSettled) {
      // It was given up while the store was asked.
      host.giveBack(this.#name);
      signal.throwIfAborted();
      return;
    }
    if (answer.isGranted) {
      this.#opened();
      this.#spending.granted(claims, answer.reserved, 0);
      this.#look();
      this.#standing = grantedStanding(this.scopes, answer.states, host.clock.dateMs());
      return;
    }
    if (!this.#terms.isInForce()) {
      await this.#try(signal);
      return;
    }
    const { quota } = answer;
    const first = { claims, minTokens: this.#least, allowedTokens: this.#whole?.atLeast };
    const error = host.errorOf(this.scopes, answer, first);
    const needed = claims.find((claim) => claim.quota.key === quota.key)?.atLeast;
    const comesBack =
      quota.kind === 'places' ? quota.limit > 0 : isReservedByOthers(quota, answer.state, needed);
    if (!comesBack) throw this.#refusedBy(error);
    this.#await(quota.key, error);
  }

  get #least(): number {
    return Math.min(this.#host.minAnswerTokens, this.#limits.answer.tokens ?? Infinity);
  }

  get #spending(): Spending {
    return this.#terms.spending;
  }

  /** Whether the store knows the lease. A pace is this process's own. */
  get #hasQuotas(): boolean {
    return this.scopes.some(
      ({ budgets, places, rates }) => rates.length + places.length + budgets.length > 0,
    );
  }

  /** Who waits is held against the limits of now: a reload may have changed, added or removed any. */
  #renewTerms(): void {
    if (this.#terms.isInForce()) return;
    try {
      this.#terms = this.#termsNow();
    } catch (error) {
      this.#state = 'settled';
      this.#leaveQueue();
      throw error;
    }
  }

  get #isSettled(): boolean {
    return this.#state === 'settled';
  }

  #opened(): void {
    this.#state = 'open';
    this.#leaveQueue();
    this.#host.opened(this);
  }

  /** The store is away: the request runs without it, or is refused. */
  #storeFailed(error: unknown, signal: AbortSignal): void {
    // The store may have taken everything all the same.
    if (signal.aborted || this.#isSettled || this.#host.whenStoreFails === 'closed')
      this.#host.giveBack(this.#name);
    signal.throwIfAborted();
    // Who takes no such numbers is there: that is a defect, and no reason to let the request run uncounted.
    if (!(error instanceof SpillwayError) || isInvalid(error)) {
      this.#state = 'settled';
      throw error;
    }
    this.#host.storeFailed(error);
    if (this.#isSettled) return;
    if (this.#host.whenStoreFails === 'closed') {
      this.#state = 'settled';
      this.#leaveQueue();
      throw unavailableError(error);
    }
    this.#opened();
    this.#spending.allow(0);
    this.#look();
  }

  // --- waiting for a place

  /** The queue that the lease joins because others wait there already. */
  #fullPlaces(): { readonly key: string; readonly error: LimitError } | undefined {
    const { queue } = this.#host;
    for (const scope of this.scopes) {
      for (const { name, quota } of scope.places) {
        if (!queue.has([quota.key])) continue;
        const state = { used: quota.limit, reserved: 0, resetMs: undefined };
        const refused = { scope, name, quota, unit: 'tokens', state, retryAfterMs: undefined } as const;
        return { key: quota.key, error: this.#host.write(refused) };
      }
    }
    return undefined;
  }

  readonly #waiter: PlaceWaiter = {
    retry: () => {
      if (this.#onTurn === undefined) this.#isTurn = true;
      else this.#onTurn();
    },
  };
  #onTurn: (() => void) | undefined;
  /** The lease was woken while it did not wait: it asks again at once. */
  #isTurn = false;

  #await(key: string, error: LimitError): void {
    const { queue } = this.#host;
    const { key: before } = this.#awaited ?? {};
    if (before !== undefined && before !== key) {
      queue.remove(before, this.#waiter);
      // What it waited for may be there, or be no limit any more.
      queue.wake([before]);
    }
    if (!queue.add(key, this.#waiter)) throw this.#refusedBy(error);
    this.#awaited = { key, error, terms: this.#terms };
  }

  /** Waits until it may be the lease's turn. */
  async #turn(signal: AbortSignal): Promise<void> {
    this.#host.awaitsPlace();
    const isTurn = this.#isTurn;
    this.#isTurn = false;
    if (isTurn) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      this.#onTurn = () => {
        this.#onTurn = undefined;
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #leaveQueue(): void {
    const awaited = this.#awaited;
    if (awaited === undefined) return;
    this.#awaited = undefined;
    this.#onTurn = undefined;
    this.#host.queue.remove(awaited.key, this.#waiter);
    // There may be more places than the one that this request waited for.
    this.#host.queue.wake([awaited.key]);
  }

  // --- spending

  /** Notes when something is to be done next. */
  #look(): void {
    const { askAt, stopAt } = this.#spending;
    this.#count.awaits(Math.min(this.#limits.answer.tokens ?? Infinity, this.#isAsking ? stopAt : askAt));
  }

  /** The answer may have as many tokens as are awaited: what its provider has reported decides, and the estimate of the rest. */
  #lookAtAnswer(estimate: number): void {
    const { inputTokens, outputTokens } = this.#spender?.running ?? {};
    this.#count.look(estimate, outputTokens);
    if (inputTokens !== undefined) this.#spending.countInput(inputTokens, this.#count.tokens);
    this.#look();
    if (this.#count.isReached) this.#reached(this.#count.tokens);
  }

  #reached(tokens: number): void {
    const most = this.#limits.answer.tokens;
    if (most !== undefined && tokens >= most) {
      this.#cut(answerError('answerTokens', most, tokens));
      return;
    }
    this.isShort = tokens >= this.#spending.stopAt;
    if (this.#isAsking) {
      // The answer is on its way. The provider is not read until then, so nothing more is to be counted.
      if (this.isShort) this.#count.awaits(most ?? Infinity);
      return;
    }
    this.#ask();
  }

  #ask(): void {
    this.#isAsking = true;
    this.#asked = this.#extend();
  }

  /** Asks for the next slice. Never rejects. */
  async #extend(): Promise<void> {
    const { closing, leaseMs, store } = this.#host;
    this.#look();
    const input = this.#spender?.reported?.inputTokens;
    if (input !== undefined) this.#spending.countInput(input, this.#count.tokens);
    const claims = this.#spending.nextClaims(this.#count.tokens);
    try {
      const answer = await store.extend(this.#name, leaseMs, claims, closing);
      this.#isAsking = false;
      if (this.#isSettled || this.#isCut) return;
      if (!answer.isGranted) {
        this.#cut(this.#host.errorOf(this.scopes, answer));
        return;
      }
      this.#spending.granted(claims, answer.reserved, this.#count.tokens);
    } catch (error) {
      this.#isAsking = false;
      if (this.#isSettled || this.#isCut) return;
      this.#host.storeFailed(error);
      if (this.#host.whenStoreFails === 'open' && !isInvalid(error)) this.#spending.allow(this.#count.tokens);
      // What is still reserved may be used. After that the answer ends.
      else if (this.isShort) this.#cut(this.#host.lostStoreError(this.#spending));
      else this.#spending.keepOn();
    }
    this.#goOn();
  }

  /** The provider may go on, unless it is already at the next bound. */
  #goOn(): void {
    if (this.#isSettled || this.#isCut) return;
    this.#look();
    const wasShort = this.isShort;
    this.isShort = false;
    if (this.#count.isReached) this.#reached(this.#count.tokens);
    if (!wasShort || this.isShort) return;
    const { onRoom } = this;
    this.onRoom = undefined;
    onRoom?.();
  }

  #cut(error: LimitError): void {
    this.#isCut = true;
    this.#count.awaits(Infinity);
    this.#spender?.cut(error, this.counted);
  }

  #refusedBy(error: LimitError): LimitError {
    this.#state = 'settled';
    this.#leaveQueue();
    return error;
  }
}
