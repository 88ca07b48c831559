import type { BudgetClaim, LimitRefusal, LimitStore } from '@spillway/core';
import type { Asker } from '@spillway/server/access/asker';
import type { Caller } from '@spillway/server/access/caller';
import type { Defects } from '@spillway/server/defects';
import { GatewayError } from '@spillway/server/errors';
import type { LimitError } from '@spillway/server/limit/limit-error';
import { PaceBook } from '@spillway/server/limit/pace-book';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { LimitSettings, NameSource, Price, TenantLimits } from '../config/limits.ts';
import { checkModel, unpriced } from './asked-model.ts';
import { scopeIds } from './configured-scopes.ts';
import { ConversationLease } from './conversation-lease.ts';
import { isInvalid } from './invalid-numbers.ts';
import type { LimitedRequest } from './limited-request.ts';
import { KnownNames } from './known-names.ts';
import type { FirstClaims, LeaseHost, Settlement } from './lease-host.ts';
import { quotaError, type RefusedQuota } from './limit-message.ts';
import { LostStoreError } from './lost-store-error.ts';
import { PlaceQueue } from './place-queue.ts';
import { dearestPrice, isFree, type PricedRequest, priceAt } from './price-of.ts';
import { RefusedScopes } from './refused-scopes.ts';
import type { LeaseTerms } from './lease-terms.ts';
import { RequestLease } from './request-lease.ts';
import { budgetsOf, openScope, openSessionScope, placesOf, type Scope } from './scope.ts';
import { spentBy } from './spent-by.ts';
import { type Excess, Spending } from './spending.ts';
import { Unsettled } from './unsettled.ts';
import { checkCounted, laterPaths } from './uncounted-work.ts';
import { boundPaths, choicePaths, wholeAnswer } from './whole-answer.ts';

/** How long a lease holds when this process says nothing of it any more. */
const leaseMs = 60_000;
/** Three words of this process in that time: two may be lost. */
const renewMs = leaseMs / 3;
/** How often the store is asked for places that another process may have given back. */
const pollMs = 500;
/** How long the ends of streams may take to reach the store when the gateway stops. */
const closeMs = 2000;

/** Gets what limits do. */
export interface LimiterObserver {
  /** A request is over, and what it used is known. */
  readonly settled?: (settlement: Settlement<RequestLease>) => void;
  /** A request of a tenant has used so many tokens beyond a limit: the provider counted them, and they were not foreseen. */
  readonly overshot?: (tenant: string, tokens: number) => void;
}

export interface LimiterOptions {
  readonly settings: LimitSettings;
  /** Its owner closes it, after the limiter. */
  readonly store: LimitStore;
  readonly clock: ServerClock;
  readonly defects: Defects;
  /** The requests that may wait for places of their tenants, together, and each for how long. */
  readonly config: { readonly maxWaiting: number; readonly waitTimeoutMs: number };
  readonly observer?: LimiterObserver;
}

/** The scopes of a caller that are known before its body is read. */
interface CallerScopes {
  readonly limits: TenantLimits;
  readonly scopes: readonly Scope[];
}

const boundMembers: readonly (readonly string[])[] = [...boundPaths, ...choicePaths, ...laterPaths];

/** What limits look at again where a request waits while they change. */
type Asked = Pick<
  LimitedRequest,
  | 'isAround'
  | 'isFirstProvider'
  | 'isWithin'
  | 'members'
  | 'method'
  | 'model'
  | 'path'
  | 'promptTokens'
  | 'provider'
  | 'replaced'
  | 'route'
  | 'targets'
>;

/** The limits of a tenant that has limits for its keys alone. */
const none: TenantLimits = { priority: 'normal', answer: {}, user: {}, session: {} };

/**
 * Holds requests against the limits of whoever asks: their tenant, key, end user and conversation. One file, because what it
 * remembers of callers and names, of refusals and of ends on their way goes with the settings, and a reload changes all of it in
 * one turn.
 */
export class Limiter implements LeaseHost<RequestLease> {
  readonly clock: ServerClock;
  readonly store: LimitStore;
  readonly leaseMs = leaseMs;
  readonly queue: PlaceQueue;
  readonly paces: PaceBook;
  readonly waitTimeoutMs: number;
  readonly #closing = new AbortController();
  readonly #defects: Defects;
  readonly #observer: LimiterObserver;
  readonly #names: string;
  readonly #refused = new RefusedScopes();
  readonly #unsettled: Unsettled;
  readonly #open = new Set<RequestLease>();
  /** Ends that are on their way to the store. */
  readonly #settling = new Set<Promise<unknown>>();
  readonly #renewal: { stop(): void };
  readonly #secret: Uint8Array | string;
  #settings: LimitSettings;
  #callers = new Map<string, CallerScopes | undefined>();
  #known: KnownNames;
  /** The paths of members of bodies in which users and conversations are named. */
  #members: readonly (readonly string[])[] = boundMembers;
  #count = 0;
  #isPolling = false;

  constructor({ clock, config, defects, observer = {}, settings, store }: LimiterOptions) {
    this.clock = clock;
    this.store = store;
    this.queue = new PlaceQueue(config.maxWaiting);
    this.paces = new PaceBook(clock);
    this.waitTimeoutMs = config.waitTimeoutMs;
    this.#defects = defects;
    this.#observer = observer;
    this.#settings = settings;
    this.#names = Buffer.from(clock.randomBytes(9)).toString('base64url');
    // Gateways that share a store have to find the same hash for a name.
    this.#secret =
      settings.store === undefined ? clock.randomBytes(32) : (settings.storePassword ?? 'spillway');
    this.#known = new KnownNames(settings.maxUsers, this.#secret);
    this.#unsettled = new Unsettled(store, clock);
    this.#renewal = clock.every(renewMs, () => this.#renew());
    this.use(settings);
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get minAnswerTokens(): number {
    return this.#settings.minAnswerTokens;
  }

  get whenStoreFails(): 'closed' | 'open' {
    return this.#settings.whenStoreFails;
  }

  /** The end users and conversations that are known. */
  get knownNames(): number {
    return this.#known.size;
  }

  /** The leases whose end the store does not know yet, and those of which it will never know. */
  get unsettled(): { readonly kept: number; readonly lost: number } {
    return { kept: this.#unsettled.size, lost: this.#unsettled.lost };
  }

  /** The paths of members of a JSON body that {@link LimitedRequest.members} has to have. */
  get members(): readonly (readonly string[])[] {
    return this.#members;
  }

  /**
   * Puts other limits in force, for requests that come from now on and for those that wait; `undefined`: nobody has any. The
   * store stays the same.
   */
  use(next: LimitSettings | undefined): void {
    const settings = next ?? { ...this.#settings, tenants: new Map(), others: undefined, keys: new Map() };
    this.#settings = settings;
    this.#callers = new Map();
    this.#known = new KnownNames(settings.maxUsers, this.#secret);
    this.#refused.clear();
    // Who waits asks again, with the new numbers.
    this.queue.wakeEach();
    const all = [...settings.tenants.values(), ...(settings.others === undefined ? [] : [settings.others])];
    const sources = [
      ...(all.some(({ user }) => hasLimits(user)) ? settings.userFrom : []),
      ...(all.some(({ session }) => hasLimits(session)) ? settings.sessionFrom : []),
    ];
    const named = sources.flatMap((source) => (source.kind === 'body' ? [source.path] : []));
    this.#members = [...boundMembers, ...named];
  }

  /**
   * Why a caller is refused whatever it asks for; `undefined`: that is not known. Costs no call of the store: it is for the
   * moment before a request's body is read.
   */
  refusal(caller: Caller, asked: Pick<LimitedRequest, 'method' | 'path'>): LimitError | undefined {
    const found = this.#callerScopes(caller);
    // What a request costs is known with its model.
    return found && this.#refusalOf(spentBy(found.scopes, asked, this.#freePrice));
  }

  /** Who gets a place first; `undefined`: no limits are for that caller. */
  priorityOf(caller: Pick<Caller, 'owner' | 'tenant'>): TenantLimits['priority'] | undefined {
    return this.#callerScopes(caller)?.limits.priority;
  }

  /** Whether a request has a price, or its caller none of the limits that need one. */
  mayCost(caller: Caller, request: PricedRequest): boolean {
    const { scopes = [] } = this.#callerScopes(caller) ?? {};
    const { prices } = this.#settings;
    return !hasCosts(scopes) || dearestPrice(prices, request, this.clock.dateMs()) !== undefined;
  }

  /** The models that a caller may use, as patterns; `undefined`: all. */
  modelsOf(caller: Caller): readonly string[] | undefined {
    return this.#callerScopes(caller)?.limits.models;
  }

  /**
   * A lease for a request, which has nothing yet; `undefined`: no limits are for it.
   *
   * @throws {LimitError} if it is known to be refused.
   * @throws {GatewayError} `model_not_allowed`.
   */
  lease(request: LimitedRequest, asker: Pick<Asker, 'caller' | 'headers'>): RequestLease | undefined {
    return this.#lease(request, asker, (answer) => answer);
  }

  /**
   * A lease for a conversation or a call, as {@link lease} is for a request. Of the limits of an answer it has `answerMs` alone:
   * what a model says in it is known when it was said, and is heard no faster than it is spoken.
   *
   * @throws {LimitError} if it is known to be refused.
   * @throws {GatewayError} `model_not_allowed`.
   */
  conversation(
    asked: Pick<LimitedRequest, 'isAround' | 'isFirstProvider' | 'model' | 'provider' | 'targets'>,
    asker: Pick<Asker, 'caller' | 'headers'>,
  ): ConversationLease | undefined {
    const request = {
      ...asked,
      route: { format: undefined },
      method: 'POST',
      path: '',
      wantsEvents: true,
      members: undefined,
      promptTokens: 0,
    };
    const lease = this.#lease(request, asker, ({ ms }) => ({ ms }));
    return lease && new ConversationLease({ lease, host: this });
  }

  #lease(
    request: LimitedRequest,
    asker: Pick<Asker, 'caller' | 'headers'>,
    answerOf: (answer: TenantLimits['answer']) => TenantLimits['answer'],
  ): RequestLease | undefined {
    const { tenant } = asker.caller;
    const { limits } = this.#callerScopes(asker.caller) ?? {};
    if (limits === undefined) return undefined;
    // Not its body, which is gone before the lease is.
    const { isAround, isFirstProvider, isWithin, members, method, model, path, promptTokens } = request;
    const { provider, replaced, route, targets } = request;
    const whom = { isFirstProvider, model, provider, replaced, targets };
    const asked = { ...whom, isAround, isWithin, members, method, path, promptTokens, route };
    const terms = this.#terms(asked, asker);
    this.#count += 1;
    return new RequestLease({
      tenant,
      host: this,
      name: `${scopeIds.tag(tenant)}${this.#names}-${this.#count.toString(36)}`,
      terms,
      termsNow: () => this.#terms(asked, asker),
      limits: { priority: limits.priority, answer: answerOf(limits.answer) },
      whole: wholeAnswer(request, (names) => textAt(members, names)),
      format: request.route.format?.name,
    });
  }

  /** What a request is held against now: nothing, where no limits are for whoever asks. Throws as {@link lease} does. */
  #terms(asked: Asked, { caller, headers }: Pick<Asker, 'caller' | 'headers'>): LeaseTerms {
    const settings = this.#settings;
    const { limits = none, scopes: ofCaller = [] } = this.#callerScopes(caller) ?? {};
    if (limits.models !== undefined) checkModel(limits.models, asked);
    const held = [...ofCaller, ...this.#namedScopes(limits, caller.tenant, asked, headers)];
    const all = asked.isWithin === true ? held.map(budgetsOf) : held;
    checkCounted(asked, all);
    const { prices } = settings;
    const dateMs = this.clock.dateMs();
    const price = dearestPrice(prices, asked, dateMs);
    const scopes = spentBy(all, asked, price);
    const refused = this.#refusalOf(scopes);
    if (refused !== undefined) throw refused;
    this.#refused.asks(scopes, this.clock);
    if (price === undefined && hasCosts(scopes)) throw unpriced(prices, asked, dateMs);
    const own = asked.isAround === true ? scopes.map(placesOf) : scopes;
    const spendingOf = (of: readonly Scope[]): Spending => new Spending(of, price, asked.promptTokens);
    return {
      scopes: own,
      spending: spendingOf(own),
      parts: asked.isAround === true ? { scopes, spending: spendingOf(scopes) } : undefined,
      priceAt: (target) => priceAt(prices, asked, target, dateMs),
      isInForce: () => settings === this.#settings,
    };
  }

  /**
   * {@link lease}, opened: everything is taken, or the lease waits for a place, until its stream enters it.
   *
   * @throws {LimitError}
   * @throws {GatewayError} `model_not_allowed`, `limits_unavailable`.
   */
  async open(request: LimitedRequest, asker: Asker): Promise<RequestLease | undefined> {
    const lease = this.lease(request, asker);
    await lease?.open(this.closing);
    return lease;
  }

  /** Ends all leases that are left, and tells the store what it does not know. Never rejects. */
  async close(): Promise<void> {
    this.#renewal.stop();
    for (const lease of this.#open) lease.settle(undefined);
    const timeout = AbortSignal.timeout(closeMs);
    await Promise.race([Promise.all(this.#settling), whenAborted(timeout)]);
    await this.#unsettled.settleAll(timeout);
    this.#closing.abort(new GatewayError('shutting_down', 'The gateway stops.'));
  }

  // --- what leases ask for

  opened(lease: RequestLease): void {
    this.#open.add(lease);
    this.#refused.forget(lease.scopes);
  }

  settle(settlement: Settlement<RequestLease>): void {
    this.#open.delete(settlement.lease);
    this.#defects.contain('account of limits', () => this.#observer.settled?.(settlement));
    if (settlement.name !== undefined) this.#track(this.#settleAll(settlement, settlement.name));
  }

  giveBack(name: string): void {
    this.#track(this.#settleNow(name, []));
  }

  storeFailed(error: unknown): void {
    // A store that is away says so itself.
    if (isInvalid(error)) this.#defects.caught('numbers of limits', error);
  }

  awaitsPlace(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.clock
      .after(pollMs * (0.75 + this.clock.random() / 2), () => {
        this.#isPolling = false;
        this.queue.wakeAll();
        if (this.queue.size > 0) this.awaitsPlace();
      })
      .unref();
  }

  write(refused: RefusedQuota): LimitError {
    return quotaError(refused, this.#context);
  }

  errorOf(scopes: readonly Scope[], refusal: LimitRefusal, first?: FirstClaims): LimitError {
    const { quota, retryAfterMs, state } = refusal;
    for (const scope of scopes) {
      const budget = scope.budgets.find(({ quota: { key } }) => key === quota.key);
      const other = [...scope.rates, ...scope.places].find(({ quota: { key } }) => key === quota.key);
      const { name } = budget ?? other ?? {};
      if (name === undefined) continue;
      const unit = budget?.unit ?? 'tokens';
      const needed = first?.claims.find((claim) => claim.quota.key === quota.key)?.atLeast;
      const refused: RefusedQuota = {
        scope,
        name,
        quota,
        unit,
        state,
        retryAfterMs,
        needed,
        allowedTokens: first?.allowedTokens,
        isUsedUp: first === undefined,
      };
      if (first !== undefined) this.#refused.note(scope, refused, first.minTokens, this.clock);
      return this.write(refused);
    }
    throw new Error('a store refuses by a quota that it was asked for');
  }

  lostStoreError(spending: Spending): LimitError {
    const { budget, held, scope } = spending.tightest;
    const { limit } = budget.quota;
    return new LostStoreError({ scope: scope.kind, budget: budget.name, value: limit, used: held });
  }

  /** The price of a model that costs nothing, if there is one. */
  get #freePrice(): Price | undefined {
    return this.#settings.prices.find(isFree);
  }

  get #context(): { readonly currency: string; readonly dateMs: number } {
    return { currency: this.#settings.currency, dateMs: this.clock.dateMs() };
  }

  /** Tells the store what a lease has used in all, and counts what of it went beyond a limit. Never rejects. */
  async #settleAll({ after, claims, excess, lease }: Settlement<RequestLease>, name: string): Promise<void> {
    await after;
    if (!(await this.#settleNow(name, claims))) return;
    this.queue.wake(lease.sharedKeys);
    if (excess.length > 0) await this.#countOvershoot(lease.tenant, excess);
  }

  /** Tells the store the end of a lease, and keeps it for later if the store is away (`false`). Never rejects. */
  async #settleNow(name: string, claims: readonly BudgetClaim[]): Promise<boolean> {
    try {
      await this.store.settle(name, claims, this.closing);
      return true;
    } catch (error) {
      this.storeFailed(error);
      // What was told of it before counts, and its places are free.
      if (isInvalid(error)) return claims.length > 0 && (await this.#settleNow(name, []));
      this.#unsettled.keep(name, claims);
      return false;
    }
  }

  /** What was used beyond what was reserved is beyond a limit only where no more was left. Never rejects. */
  async #countOvershoot(tenant: string, excess: readonly Excess[]): Promise<void> {
    try {
      const states = await this.store.read(
        excess.map(({ quota }) => quota),
        this.closing,
      );
      const beyond = excess.map(({ quota, tokens }, index) => {
        const { reserved, used } = states[index] ?? { used: 0, reserved: 0 };
        return Math.min(tokens, used + reserved - quota.limit);
      });
      const most = Math.max(...beyond);
      if (most > 0) this.#defects.contain('overshoot', () => this.#observer.overshot?.(tenant, most));
    } catch (error) {
      // It is only shown.
      this.storeFailed(error);
    }
  }

  #track(settling: Promise<unknown>): void {
    this.#settling.add(settling);
    void settling.then(() => this.#settling.delete(settling));
  }

  #renew(): void {
    const names: string[] = [];
    for (const { openName } of this.#open) if (openName !== undefined) names.push(openName);
    if (names.length === 0) return;
    this.store.renew(names, leaseMs, this.closing).catch((error: unknown) => this.storeFailed(error));
  }

  #refusalOf(scopes: readonly Scope[]): LimitError | undefined {
    for (const scope of scopes) {
      const error = this.#refused.errorOf(scope, this.clock, () => this.#context);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** The scopes of a tenant and a key; `undefined`: they have no limits, nor has anybody below them. */
  #callerScopes({ owner = '', tenant }: Pick<Caller, 'owner' | 'tenant'>): CallerScopes | undefined {
    const id = `${tenant}\0${owner}`;
    if (this.#callers.has(id)) return this.#callers.get(id);
    const { keys, others, tenants } = this.#settings;
    const limits = tenants.get(tenant) ?? others;
    const ofKey = owner === '' ? undefined : keys.get(owner);
    const found =
      limits === undefined && ofKey === undefined
        ? undefined
        : {
            limits: limits ?? none,
            scopes: [
              limits && openScope('tenant', tenant, scopeIds.tenant(tenant), limits),
              ofKey && openScope('key', owner, scopeIds.key(tenant, owner), ofKey),
            ].filter((scope) => scope !== undefined),
          };
    // Callers are as many as there are keys.
    this.#callers.set(id, found);
    return found;
  }

  /** The scopes of the end user and the conversation that a request names. */
  #namedScopes(
    limits: TenantLimits,
    tenant: string,
    { members }: Pick<LimitedRequest, 'members'>,
    headers: Asker['headers'],
  ): Scope[] {
    const scopes: Scope[] = [];
    for (const kind of ['user', 'session'] as const) {
      if (!hasLimits(limits[kind])) continue;
      const sources = kind === 'user' ? this.#settings.userFrom : this.#settings.sessionFrom;
      const name = this.#nameIn(sources, members, headers);
      if (name === undefined) continue;
      const hash = this.#known.hash(tenant, kind, name);
      const scope = this.#known.scope(`${scopeIds.tenant(tenant)}${kind}:${hash}:`, (id) =>
        kind === 'user' ? openScope('user', '', id, limits.user) : openSessionScope(id, limits.session),
      );
      if (scope !== undefined) scopes.push(scope);
    }
    return scopes;
  }

  #nameIn(
    sources: readonly NameSource[],
    members: LimitedRequest['members'],
    headers: Asker['headers'],
  ): string | undefined {
    for (const source of sources) {
      const name = source.kind === 'header' ? headers[source.name]?.toString() : textAt(members, source.path);
      if (name !== undefined && name !== '') return name;
    }
    return undefined;
  }
}

/** The text at a path, by its names: a reload makes other paths, which may have the same. */
function textAt(members: LimitedRequest['members'], path: readonly string[]): string | undefined {
  return members?.find(
    (member) => member.path.length === path.length && member.path.every((name, at) => name === path[at]),
  )?.text;
}

function hasCosts(scopes: readonly Scope[]): boolean {
  return scopes.some(({ budgets }) => budgets.some(({ unit }) => unit === 'cost'));
}

function hasLimits(limits: object): boolean {
  return Object.values(limits).some((value) => value !== undefined);
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
