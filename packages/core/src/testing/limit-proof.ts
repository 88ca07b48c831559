import type {
  BudgetClaim,
  BudgetQuota,
  LeaseRequest,
  LimitAnswer,
  LimitStore,
  PlacesQuota,
  Quota,
  QuotaState,
  RateQuota,
} from '../limit/limit-store.ts';
import { EngineProof, type ProofOptions } from './engine-proof.ts';
import type { LimitEngine } from './limit-engine.ts';
import { VirtualClock } from './virtual-clock.ts';

const neverAborted = new AbortController().signal;

/** What is asked for beside the name; absent: nothing. */
export type Wish = Partial<Omit<LeaseRequest, 'lease'>>;

/** One check of {@link limitRules}: its engine, and its stores. */
export class LimitProof extends EngineProof<LimitEngine> {
  readonly #random: VirtualClock;
  #names = 0;

  constructor(engine: LimitEngine, options: ProofOptions) {
    super(engine, options);
    this.#random = new VirtualClock({ seed: options.seed });
  }

  /** A whole number from 0 to less than `below`. */
  below(below: number): number {
    return Math.floor(this.#random.random() * below);
  }

  pick<T>(values: readonly T[]): T | undefined {
    return values[this.below(values.length)];
  }

  async store(): Promise<LimitStore> {
    return this.opened(await this.engine.open());
  }

  async pass(ms: number): Promise<void> {
    await this.engine.pass(ms);
  }

  async dateMs(): Promise<number> {
    return this.engine.dateMs();
  }

  /** A name that no lease of the check has. */
  name(): string {
    return `lease-${(this.#names += 1)}`;
  }

  rate(key: string, perSecond: number, burst: number): RateQuota {
    return { kind: 'rate', key, perSecond, burst };
  }

  places(key: string, limit: number): PlacesQuota {
    return { kind: 'places', key, limit };
  }

  /** A budget whose window does not end during a check. */
  budget(key: string, limit: number): BudgetQuota {
    return { kind: 'budget', key, limit, window: { idleMs: 7_200_000 } };
  }

  claim(quota: BudgetQuota, spent: number, want: number, atLeast = want): BudgetClaim {
    return { quota, spent, want, atLeast };
  }

  open(store: LimitStore, lease: string, wish: Wish, signal = neverAborted): Promise<LimitAnswer> {
    const request = { lease, leaseMs: 60_000, rates: [], places: [], budgets: [], ...wish };
    return this.settled('open', store.open(request, signal));
  }

  extend(
    store: LimitStore,
    lease: string,
    claims: readonly BudgetClaim[],
    leaseMs = 60_000,
  ): Promise<LimitAnswer> {
    return this.settled('extend', store.extend(lease, leaseMs, claims, neverAborted));
  }

  settle(store: LimitStore, lease: string, claims: readonly BudgetClaim[] = []): Promise<void> {
    return this.settled('settle', store.settle(lease, claims, neverAborted));
  }

  renew(store: LimitStore, leases: readonly string[], leaseMs = 60_000): Promise<void> {
    return this.settled('renew', store.renew(leases, leaseMs, neverAborted));
  }

  async state(store: LimitStore, quota: Quota): Promise<QuotaState> {
    const [state] = await this.settled('read', store.read([quota], neverAborted));
    if (state === undefined) throw this.error('read of one quota: expected one state, got none');
    return state;
  }

  /** Each kind of call once, for what they have in common. Each is a lease of its own. */
  calls(store: LimitStore, signal = neverAborted): readonly (readonly [string, () => Promise<unknown>])[] {
    const quota = this.budget('calls', 1_000_000);
    const claims = [this.claim(quota, 0, 1)];
    return [
      ['open', () => this.open(store, this.name(), { budgets: claims }, signal)],
      ['extend', () => store.extend(this.name(), 60_000, claims, signal)],
      ['settle', () => store.settle(this.name(), claims, signal)],
      ['renew', () => store.renew([this.name()], 60_000, signal)],
      ['read', () => store.read([quota], signal)],
    ];
  }

  async expectGranted(what: string, answering: Promise<LimitAnswer>, ...reserved: number[]): Promise<void> {
    const answer = await answering;
    if (!answer.isGranted)
      throw this.error(`${what}: expected a grant, got a refusal by ${answer.quota.key}`);
    this.expect(`${what}: reserved`, answer.reserved, reserved);
  }

  async expectRefused(
    what: string,
    answering: Promise<LimitAnswer>,
    quota: Quota,
  ): Promise<{ readonly state: QuotaState; readonly retryAfterMs: number | undefined }> {
    const answer = await answering;
    if (answer.isGranted) throw this.error(`${what}: expected a refusal by ${quota.key}, got a grant`);
    this.expect(`${what}: who refuses`, answer.quota, quota);
    return answer;
  }

  /** How a quota stands, but for its time. */
  async expectState(
    what: string,
    store: LimitStore,
    quota: Quota,
    used: number,
    reserved = 0,
  ): Promise<void> {
    const state = await this.state(store, quota);
    this.expect(`${what}: used and reserved of ${quota.key}`, [state.used, state.reserved], [used, reserved]);
  }

  async expectRejection(what: string, code: string, calling: Promise<unknown>): Promise<void> {
    const came = await this.settled(what, rejectionOf(calling));
    const cameCode = came instanceof Error && 'code' in came ? came.code : String(came);
    if (cameCode !== code)
      throw this.error(`${what}: expected a rejection with ${code}, got ${String(cameCode)}`);
  }

  async expectReason(what: string, reason: Error, calling: Promise<unknown>): Promise<void> {
    const came = await this.settled(what, rejectionOf(calling));
    if (came !== reason) throw this.error(`${what}: expected the signal's reason, got ${String(came)}`);
  }

  async expectNothingKept(): Promise<void> {
    this.expect('what is kept', await this.engine.keptCount?.(), 0);
  }

  expectBetween(what: string, value: number | undefined, least: number, most: number): void {
    if (value === undefined || value < least || value > most)
      throw this.error(`${what}: expected ${least} to ${most}, got ${value}`);
  }

  expect(what: string, value: unknown, expected: unknown): void {
    if (JSON.stringify(value) !== JSON.stringify(expected))
      throw this.error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(value)}`);
  }
}

function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no rejection',
    (error: unknown) => error,
  );
}
