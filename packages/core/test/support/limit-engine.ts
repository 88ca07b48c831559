import {
  type BudgetClaim,
  type LeaseRequest,
  type LimitAnswer,
  type LimitStore,
  SpillwayError,
} from '../../src/index.ts';
import { LimitBook } from '../../src/limit/limit-book.ts';
import { BookStore } from '../../src/limit/book-store.ts';
import type { LimitEngine } from '../../src/testing/limit-engine.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

const { signal: never } = new AbortController();

/** What is wrong with a store; each is against one rule. */
export interface LimitDefects {
  /** 1: it takes what it has when another quota refuses. */
  readonly takesBeforeItLooks?: boolean;
  /** 2: between its look and its taking others come. */
  readonly readsThenWrites?: boolean;
  /** 3: each lease is a new one. */
  readonly forgetsNames?: boolean;
  /** 4: what was spent counts only with a grant. */
  readonly countsGrantsOnly?: boolean;
  /** 5: what was told before counts again. */
  readonly addsEachTime?: boolean;
  /** 6: it does not know leases that were never opened. */
  readonly dropsTheLate?: boolean;
  /** 7: it settles whatever comes. */
  readonly settlesTwice?: boolean;
  /** 7: it takes nothing back. */
  readonly takesNothingBack?: boolean;
  /** 8: leases stay. */
  readonly neverExpires?: boolean;
  /** 9: it works on after a close. */
  readonly isTireless?: boolean;
  /** 10: it has failed once and fails for ever. */
  readonly sulks?: boolean;
  /** 10: it waits for the engine for ever. */
  readonly isPatient?: boolean;
  /** 11: it does not look at the signal. */
  readonly isDeaf?: boolean;
  /** 12: it counts what is gone. */
  readonly keepsAll?: boolean;
  /** 13: it says how quotas stood before. */
  readonly tellsTheStatesBefore?: boolean;
  /** 14: it makes a whole number of what is none. */
  readonly rounds?: boolean;
  /** 15: it opens what was settled. */
  readonly reopens?: boolean;
}

/** Several stores on one book, with a clock that is moved. */
export class BookEngine implements LimitEngine {
  readonly maxPassMs = Infinity;
  readonly clock = new VirtualClock({ startDateMs: Date.UTC(2028, 0, 30, 23, 58, 30) });
  readonly book = new LimitBook(this.clock, 100_000, []);

  open(): LimitStore {
    return new BookStore(this.book);
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  dateMs(): number {
    return this.clock.dateMs();
  }

  keptCount(): number {
    return this.book.size;
  }
}

/** The same with a way between stores and book, on which calls fail and wait. */
export class RemoteEngine extends BookEngine {
  readonly defects: LimitDefects;
  #state: 'failing' | 'silent' | 'well' = 'well';
  #hasFailed = false;

  constructor(defects: LimitDefects = {}) {
    super();
    this.defects = defects;
  }

  override open(): LimitStore {
    return new RemoteStore(this, super.open());
  }

  override keptCount(): number {
    return super.keptCount() + (this.defects.keepsAll === true ? 1 : 0);
  }

  fail(): void {
    this.#state = 'failing';
  }

  hang(): void {
    this.#state = 'silent';
  }

  heal(): void {
    this.#state = 'well';
  }

  async trip(signal: AbortSignal): Promise<void> {
    if (this.#state === 'well' && !(this.#hasFailed && this.defects.sulks === true)) return;
    this.#hasFailed = true;
    const failed = new SpillwayError('limits_failed', 'The engine in memory has failed.');
    if (this.#state !== 'silent') throw failed;
    await new Promise<void>((_resolve, reject) => {
      const timer = setTimeout(() => reject(failed), this.defects.isPatient === true ? 1500 : 50);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}

class RemoteStore implements LimitStore {
  readonly #engine: RemoteEngine;
  readonly #book: LimitStore;
  readonly #defects: LimitDefects;
  readonly #closing = new AbortController();
  /** What leases have spent, as far as their extensions said. */
  readonly #spent = new Map<string, string>();
  readonly #opened = new Set<string>();
  readonly #settled = new Set<string>();
  #names = 0;

  constructor(engine: RemoteEngine, book: LimitStore) {
    this.#engine = engine;
    this.#book = book;
    this.#defects = engine.defects;
  }

  async open(request: LeaseRequest, signal: AbortSignal): Promise<LimitAnswer> {
    await this.#trip(signal);
    this.#opened.add(request.lease);
    const lease = this.#defects.forgetsNames === true ? `${request.lease}${this.#nextName()}` : request.lease;
    const leaseMs = this.#defects.neverExpires === true ? 3_600_000 : request.leaseMs;
    if (this.#defects.rounds === true)
      return this.#book.open({ ...request, leaseMs: Math.ceil(leaseMs) }, never);
    if (this.#defects.readsThenWrites === true) return this.#readThenWrite(request);
    const quotas = [...request.rates, ...request.budgets.map(({ quota }) => quota)];
    const states = await this.#book.read(quotas, never);
    const answer = await this.#book.open({ ...request, lease, leaseMs }, never);
    if (this.#defects.tellsTheStatesBefore === true && answer.isGranted) return { ...answer, states };
    if (this.#defects.takesBeforeItLooks === true && !answer.isGranted && answer.quota.kind === 'budget')
      await this.#book.open({ ...request, lease, budgets: [] }, never);
    return answer;
  }

  async extend(
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
    signal: AbortSignal,
  ): Promise<LimitAnswer> {
    await this.#trip(signal);
    if (this.#defects.dropsTheLate === true && !this.#opened.has(lease))
      return { isGranted: true, reserved: claims.map(() => 0), states: [] };
    if (this.#defects.reopens === true && this.#settled.has(lease))
      return this.#book.extend(this.#nextName(), leaseMs, claims, never);
    const numbers = JSON.stringify(claims.map(({ spent }) => spent));
    if (this.#defects.addsEachTime === true && this.#spent.get(lease) === numbers)
      await this.#book.settle(this.#nextName(), claims, never);
    this.#spent.set(lease, numbers);
    const earlier = claims.map((claim) => ({
      ...claim,
      spent: 0,
      want: claim.spent + claim.want,
      atLeast: claim.spent + claim.atLeast,
    }));
    const answer = await this.#book.extend(
      lease,
      leaseMs,
      this.#defects.countsGrantsOnly === true ? earlier : claims,
      never,
    );
    return answer.isGranted && this.#defects.countsGrantsOnly === true
      ? this.#book.extend(lease, leaseMs, claims, never)
      : answer;
  }

  async settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<void> {
    await this.#trip(signal);
    const isAgain = this.#settled.has(lease);
    this.#settled.add(lease);
    const name = isAgain && this.#defects.settlesTwice === true ? this.#nextName() : lease;
    const told = claims.map((claim) => ({ ...claim, want: 0, atLeast: 0 }));
    // Who takes nothing back counts what was told, and then ends the lease without a word of what it has spent.
    if (this.#defects.takesNothingBack === true) await this.#book.extend(name, 1000, told, never);
    await this.#book.settle(name, this.#defects.takesNothingBack === true ? [] : claims, never);
  }

  async renew(leases: readonly string[], leaseMs: number, signal: AbortSignal): Promise<void> {
    await this.#trip(signal);
    await this.#book.renew(leases, leaseMs, never);
  }

  async read(...[quotas, signal]: Parameters<LimitStore['read']>): ReturnType<LimitStore['read']> {
    await this.#trip(signal);
    return this.#book.read(quotas, never);
  }

  async close(): Promise<void> {
    this.#closing.abort(new SpillwayError('limits_closed', 'The store is closed.'));
    if (this.#defects.isTireless !== true) await this.#book.close();
  }

  async #trip(signal: AbortSignal): Promise<void> {
    if (this.#defects.isTireless !== true) this.#closing.signal.throwIfAborted();
    if (this.#defects.isDeaf === true) return this.#engine.trip(this.#closing.signal);
    signal.throwIfAborted();
    await this.#engine.trip(AbortSignal.any([signal, this.#closing.signal]));
  }

  async #readThenWrite(request: LeaseRequest): Promise<LimitAnswer> {
    const { places } = request;
    const states = await this.#book.read(places, never);
    if (places.some(({ limit }, index) => (states[index]?.used ?? 0) >= limit))
      return this.#book.open(request, never);
    await new Promise((resolve) => setTimeout(resolve, 1));
    const unlimited = places.map((quota) => ({ ...quota, limit: 1_000_000 }));
    return this.#book.open({ ...request, places: unlimited }, never);
  }

  #nextName(): string {
    return `another-${(this.#names += 1)}`;
  }
}
