import { overloaded } from '../errors.ts';
import type { ServerClock, ServerTimer } from '../time/server-clock.ts';
import type { ConcurrencyLimit } from './concurrency-limit.ts';
import { type Entrant, Entry, type EntryHost, type TenantPlaces } from './entry.ts';
import { FairQueue } from './fair-queue.ts';
import type { Place, Priority } from './place.ts';
import { RankCounts } from './rank-counts.ts';
import { RememberedTurns } from './remembered-turns.ts';
import { WaitingLine } from './waiting-line.ts';

/** The bounds of an {@link Admission}, which may change. */
export interface AdmissionBounds {
  /** How many places there are. */
  readonly limit: ConcurrencyLimit;
  /** What the limit may become at most, for messages. Default: it is always what it is now. */
  readonly maxStreams?: number | undefined;
  /** The requests that may wait for a place. Minimum 0. */
  readonly maxWaiting: number;
  /**
   * How long one may wait, in milliseconds; at least 1. Who would wait longer is refused on arrival, and who has waited as
   * long is dropped. Default: without a bound, and the caller's signal has to be one.
   */
  readonly waitMs?: number | undefined;
}

/** What an {@link Admission} is made of. */
export interface AdmissionOptions extends AdmissionBounds {
  readonly clock: Pick<ServerClock, 'after' | 'nowMs'>;
  /** What the places are for, as messages have it. Default: `streams that run or are still read`. */
  readonly what?: string | undefined;
}

/** What became of all requests so far: each is counted once, as soon as it does not wait any more. */
export interface AdmissionCounts {
  /** Got a place, at once or later. */
  readonly admitted: number;
  /** Refused on arrival: `maxWaiting` wait, and are served before. */
  readonly full: number;
  /** Refused on arrival: it would have waited longer than it may. */
  readonly late: number;
  /** Refused while it waited, because another came that is served before, or `maxWaiting` fell, and as many wait. */
  readonly displaced: number;
  /** Refused when it had waited as long as it may. */
  readonly expired: number;
  /** Left while it waited. */
  readonly left: number;
}

/** Why one that waited is refused. */
const takenRoom = 'one that comes first took the room of this request';

/** How much of `waitMs` one may wait while a queue stands. */
const standingPart = 1 / 10;

/** A time for which a place was held counts as one of so many, at most, in the mean. */
const maxHoldWeight = 50;

/** The SDKs of OpenAI and Anthropic wait for as long as they are told up to a minute, and choose by themselves beyond. */
const maxRetryAfterS = 60;

const priorities: readonly Priority[] = ['high', 'normal', 'low'];
const lowerThan: Readonly<Record<Priority, readonly Priority[]>> = {
  high: ['normal', 'low'],
  normal: ['low'],
  low: [],
};

/**
 * Gives out as many places as a limit has. The request with the highest priority is first. Within a priority it is max-min
 * fair between tenants: the next place goes to the one with the fewest, and of several to the one that was served longest ago
 * (see {@link FairQueue}), so that a loud one gets all of what nobody else wants, and nothing of what somebody does. Nobody
 * waits while a place is free.
 *
 * Where more places are taken than there are, because the limit has fallen, those that come free are not given again. Only a
 * tenant that has less than half of what another one has gets them: a loud one's requests are what was too many, and a quiet
 * one would else be refused for them. So no more are taken than before, and in the end as many as there are, or no tenant
 * has much more than another. What is given so tells the limit nothing: it is asked for beyond it.
 *
 * At most `maxWaiting` wait. One more takes the room of the one that would be served last, if that is not itself, and that
 * one is refused: the newest of the tenant that has and wants most. Its wait would have been the longest, it has lasted the
 * shortest, and nobody else's is any longer without it. Otherwise the new one is refused, at once.
 *
 * With `waitMs`, a request is refused at once too if it would probably wait longer. By Little's law, the mean time for which a
 * place is held, divided by the number of places, is the time between two that come free; those before it, and the root of
 * their number for chance, are to come free in time. No wait is shorter than the time since a place came free.
 *
 * A queue that was never empty for `waitMs` is no burst but stands: it makes everybody late and serves nobody more. From then
 * on the tenant that has or wants most may wait for a tenth of `waitMs`, until nobody was refused for that for `waitMs`. For
 * all others the queue does not stand, because they are served before. That is controlled delay (Nichols and
 * Jacobson, "Controlling Queue Delay", 2012) in the form of Maurer ("Fail at Scale", 2015), which ends as soon as
 * the queue is empty; but so few wait for streams that a short queue is empty at times under any load. Who waits already
 * keeps its time, because its wait so far would be lost.
 *
 * One file, because every way into the queue and out of it changes the same counts, and may serve others.
 */
export class Admission {
  #options: AdmissionOptions;
  readonly #queues: Readonly<Record<Priority, FairQueue>>;
  /** Those that have a place or wait. */
  readonly #tenants = new Map<string, TenantPlaces>();
  /** {@link TenantPlaces.served} of those that have no place and do not wait. */
  readonly #remembered = new RememberedTurns();
  /** How many tenants have how many places. */
  readonly #held = new RankCounts();
  /** All that wait. */
  readonly #byAge = new WaitingLine<Entry>();
  readonly #counts = { admitted: 0, full: 0, late: 0, displaced: 0, expired: 0, left: 0 };
  #taken = 0;
  #waiting = 0;
  #tenantsWaiting = 0;
  /** Since when somebody waits, without a break. */
  #waitsSinceMs = 0;
  /** Until then the queue counts as one that stands. */
  #standsUntilMs = -Infinity;
  /** When a place was given or came free last. */
  #movedMs: number;
  #meanHoldMs = 0;
  #holds = 0;
  #timer: ServerTimer | undefined;
  #number = 0;
  /** Whether `numbered` of each entry that waits is its position. */
  #isNumbered = false;

  readonly #host: EntryHost = {
    aborted: (entry) => {
      this.#counts.left += 1;
      this.#leftQueue(entry);
    },
    answered: (entry, ttftMs) => {
      if (!entry.isPassedOn) this.#options.limit.sample(ttftMs, this.#taken);
      this.#serve();
    },
    failed: ({ isPassedOn, sinceMs }) => {
      if (!isPassedOn) this.#options.limit.failed(this.#options.clock.nowMs() - sinceMs);
    },
    positionOf: (entry) => {
      this.#numberAll();
      return entry.numbered;
    },
    release: (entry) => this.#release(entry),
  };

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const high = new FairQueue();
    const normal = new FairQueue(high);
    this.#queues = { high, normal, low: new FairQueue(normal) };
    this.#movedMs = options.clock.nowMs();
  }

  /**
   * Sets other bounds, which hold at once and for all. Who has a place keeps it: where there are fewer places than are taken, only
   * who has little gets one until enough came free (see {@link Admission}). Who waits waits on, with its place in the queue; those that get one of more places have it
   * when this returns. What then waits beyond `maxWaiting`, or has waited for `waitMs`, is refused with `overloaded`: of the
   * queue the last ones, as if others had come before them.
   */
  setBounds(bounds: AdmissionBounds): void {
    this.#options = { ...this.#options, maxStreams: undefined, waitMs: undefined, ...bounds };
    const nowMs = this.#options.clock.nowMs();
    const { maxWaiting, waitMs } = this.#options;
    this.#serve();
    while (this.#waiting > maxWaiting) {
      const { high, low, normal } = this.#queues;
      const last = low.last ?? normal.last ?? high.last;
      if (last === undefined) break;
      this.#displace(last, 'fewer may wait since the settings were changed', nowMs);
    }
    this.#timer?.stop();
    this.#timer = undefined;
    if (waitMs === undefined) return;
    this.#standsUntilMs = Math.min(this.#standsUntilMs, nowMs + waitMs);
    this.#expire(waitMs);
  }

  /** The places that are taken. While they are more than the limit, they never become more. */
  get taken(): number {
    return this.#taken;
  }

  /** The places that there are now. */
  get limit(): number {
    return this.#options.limit.current;
  }

  /** The requests that wait: ≤ `maxWaiting` always. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The requests of one priority that wait. */
  waitingOf(priority: Priority): number {
    return this.#queues[priority].size;
  }

  /** The tenants that have requests that wait. */
  get tenantsWaiting(): number {
    return this.#tenantsWaiting;
  }

  get counts(): AdmissionCounts {
    return this.#counts;
  }

  /**
   * Asks for a place. Release what is returned in any case, also if the wait for it fails.
   *
   * @example
   * ```ts
   * const place = admission.enter({ signal, tenant: 'clinic' });
   * try {
   *   await place.given;
   *   await work();
   * } finally {
   *   place.release();
   * }
   * ```
   *
   * @throws {GatewayError} `overloaded` at once if there is no room, or no hope; see {@link Admission}. After `retryAfterS`
   *   all that are before it now will have had their place, at the present pace: from 1 to 60 seconds.
   * @throws the signal's reason if it is aborted already.
   */
  enter({ priority = 'normal', signal, tenant = '' }: Entrant): Place {
    signal.throwIfAborted();
    const nowMs = this.#options.clock.nowMs();
    const its = this.#tenantOf(tenant);
    const entry = new Entry(this.#host, {
      tenant: its,
      priority,
      number: (this.#number += 1),
      sinceMs: nowMs,
    });
    if (this.#taken < this.#options.limit.current) {
      this.#take(entry, nowMs);
      return entry;
    }
    const rank = this.#queues[priority].rankOfNew(its);
    const expectedMs = this.#expectedWaitMs(priority, its, nowMs);
    let displaced: Entry | undefined;
    try {
      this.#checkHope(priority, rank, expectedMs, nowMs);
      // Its tenant's requests of lower priorities are behind it, also in the question who is last. Where there are any, there is room.
      for (const lower of lowerThan[priority]) this.#queues[lower].baseChanged(its, 1);
      displaced = this.#roomFor(priority, its, expectedMs);
    } catch (error) {
      this.#forget(its);
      throw error;
    }
    if (this.#waiting === 0) this.#waitsSinceMs = nowMs;
    entry.wait(signal);
    this.#queues[priority].add(entry);
    this.#byAge.add(entry);
    this.#waiting += 1;
    if (its.waiting === 0) this.#tenantsWaiting += 1;
    its.waiting += 1;
    this.#isNumbered = false;
    if (displaced !== undefined) this.#displace(displaced, takenRoom, nowMs);
    this.#watchAge(nowMs);
    return entry;
  }

  /** How long a request that came now would wait: an estimate, because it is not known who else comes. 0: a place is free. */
  expectedWaitMs({ priority = 'normal', tenant = '' }: Omit<Entrant, 'signal'>): number {
    if (this.#taken < this.#options.limit.current) return 0;
    const its = this.#tenantOf(tenant);
    const expectedMs = this.#expectedWaitMs(priority, its, this.#options.clock.nowMs());
    this.#forget(its);
    return expectedMs;
  }

  /** @throws {GatewayError} `overloaded` if the request would wait longer than it may. */
  #checkHope(priority: Priority, rank: number, expectedMs: number, nowMs: number): void {
    const { limit, waitMs } = this.#options;
    if (waitMs === undefined) return;
    if (this.#waiting > 0 && nowMs - this.#waitsSinceMs >= waitMs) this.#standsUntilMs = nowMs + waitMs;
    const isLoud = rank >= this.#queues[priority].lastRank && this.#held.above(rank) === 0;
    const isStanding = isLoud && nowMs < this.#standsUntilMs;
    const allowedMs = isStanding ? waitMs * standingPart : waitMs;
    const chanceMs = isStanding ? 0 : Math.sqrt((expectedMs * this.#meanHoldMs) / limit.current);
    if (expectedMs + chanceMs <= allowedMs) return;
    if (isStanding) this.#standsUntilMs = nowMs + waitMs;
    this.#counts.late += 1;
    const rule = isStanding ? ' while others wait all the time (a tenth of waitMs)' : ' (waitMs)';
    const message = `Every place is taken: ${this.#places}. The next is expected in ${Math.ceil(expectedMs)} ms, and a request may wait ${allowedMs} ms${rule}.`;
    throw overloaded(message, { retryAfterS: retryAfterS(expectedMs) });
  }

  /**
   * Whose room a new one of a tenant takes; `undefined`: nobody's.
   *
   * @throws {GatewayError} `overloaded` if there is no room, and all that wait are served before.
   */
  #roomFor(priority: Priority, tenant: TenantPlaces, expectedMs: number): Entry | undefined {
    if (this.#waiting < this.#options.maxWaiting) return undefined;
    const { low, normal } = this.#queues;
    const lower = { high: low.last ?? normal.last, normal: low.last, low: undefined }[priority];
    const last = lower ?? this.#queues[priority].lastBehind(tenant);
    if (last !== undefined) return last;
    this.#counts.full += 1;
    throw overloaded(this.#fullMessage(), { retryAfterS: retryAfterS(expectedMs) });
  }

  #displace(entry: Entry, why: string, nowMs: number): void {
    this.#counts.displaced += 1;
    entry.refuse(overloaded(this.#fullMessage(why), { retryAfterS: this.#retryAfterS(entry, nowMs) }));
    this.#leftQueue(entry);
  }

  #fullMessage(why?: string): string {
    const { maxWaiting } = this.#options;
    const message = `Every place is taken: ${this.#places}, ${maxWaiting} for requests that wait (maxWaiting)`;
    return why === undefined ? `${message}.` : `${message}, and ${why}.`;
  }

  get #places(): string {
    const { limit, maxStreams = 0, what = 'streams that run or are still read' } = this.#options;
    const isFound = limit.current < maxStreams;
    const rule = isFound ? `the limit that was found, of at most ${maxStreams}: maxStreams` : 'maxStreams';
    return `${limit.current} for ${what} (${rule})`;
  }

  /** How long one of a tenant that comes now waits: an estimate, because it is not known who else comes. */
  #expectedWaitMs(priority: Priority, tenant: TenantPlaces, nowMs: number): number {
    const { current } = this.#options.limit;
    let before = this.#queues[priority].countBefore(tenant);
    if (priority !== 'high') before += this.#queues.high.size;
    if (priority === 'low') before += this.#queues.normal.size;
    const isFallen = this.#taken > current;
    const isPassedOn = isFallen && this.#hasLittle(tenant);
    const servedMs = ((before + 1) * this.#meanHoldMs) / (isPassedOn ? this.#taken : current);
    // Where the limit has fallen, others get no place until enough of them came free: the fewer are left, the more slowly.
    const fallenMs = isFallen && !isPassedOn ? this.#meanHoldMs * Math.log(this.#taken / current) : 0;
    return Math.max(servedMs + fallenMs, nowMs - this.#movedMs);
  }

  /** When one that is dropped may try again. */
  #retryAfterS({ priority, tenant }: Entry, nowMs: number): number {
    return retryAfterS(this.#expectedWaitMs(priority, tenant, nowMs));
  }

  #take(entry: Entry, nowMs: number): void {
    this.#counts.admitted += 1;
    this.#taken += 1;
    this.#movedMs = nowMs;
    entry.tenant.served = this.#counts.admitted;
    this.#changeHeld(entry.tenant, 1);
  }

  #release(entry: Entry): void {
    const wasHeld = entry.isHeld;
    entry.leave();
    if (!wasHeld) {
      this.#counts.left += 1;
      this.#leftQueue(entry);
      return;
    }
    const nowMs = this.#options.clock.nowMs();
    this.#holds = Math.min(this.#holds + 1, maxHoldWeight);
    this.#meanHoldMs += (nowMs - entry.sinceMs - this.#meanHoldMs) / this.#holds;
    this.#movedMs = nowMs;
    this.#taken -= 1;
    this.#changeHeld(entry.tenant, -1);
    this.#forget(entry.tenant);
    if (this.#taken < this.#options.limit.current) this.#serve();
    else this.#passOn(nowMs);
  }

  /** Gives all places that are free to those whose turn it is. */
  #serve(): void {
    if (this.#waiting === 0) return;
    const nowMs = this.#options.clock.nowMs();
    while (this.#taken < this.#options.limit.current) {
      const entry = this.#next;
      if (entry === undefined) return;
      this.#give(entry, nowMs);
    }
  }

  /** Gives a place that came free, and that there is not any more, to a tenant that has little. */
  #passOn(nowMs: number): void {
    const entry = this.#next;
    if (entry === undefined || !this.#hasLittle(entry.tenant)) return;
    entry.isPassedOn = true;
    this.#give(entry, nowMs);
  }

  /** Whether another tenant has more than twice as many places as this one has with one more. */
  #hasLittle({ held }: TenantPlaces): boolean {
    return this.#held.above(2 * held + 1) > 0;
  }

  get #next(): Entry | undefined {
    const { high, low, normal } = this.#queues;
    return high.next ?? normal.next ?? low.next;
  }

  #give(entry: Entry, nowMs: number): void {
    entry.give(nowMs);
    this.#take(entry, nowMs);
    this.#leftQueue(entry);
  }

  #changeHeld(tenant: TenantPlaces, change: -1 | 1): void {
    if (tenant.held > 0) this.#held.add(tenant.held, -1);
    tenant.held += change;
    if (tenant.held > 0) this.#held.add(tenant.held, 1);
    if (this.#waiting === 0) return;
    this.#isNumbered = false;
    for (const priority of priorities) this.#queues[priority].baseChanged(tenant, change);
  }

  /** An entry waits no longer. */
  #leftQueue(entry: Entry): void {
    const { priority, tenant } = entry;
    this.#queues[priority].left(entry);
    for (const lower of lowerThan[priority]) this.#queues[lower].baseChanged(tenant, -1);
    this.#byAge.left();
    this.#waiting -= 1;
    tenant.waiting -= 1;
    if (tenant.waiting === 0) this.#tenantsWaiting -= 1;
    this.#isNumbered = false;
    this.#forget(tenant);
  }

  // --- how old those are that wait

  #watchAge(nowMs: number): void {
    const { clock, waitMs } = this.#options;
    const oldest = this.#byAge.first;
    if (waitMs === undefined || oldest === undefined || this.#timer !== undefined) return;
    this.#timer = clock.after(Math.max(1, oldest.sinceMs + waitMs - nowMs), () => {
      this.#timer = undefined;
      this.#expire(waitMs);
    });
    this.#timer.unref();
  }

  /** Refuses who has waited as long as it may, the oldest first. */
  #expire(waitMs: number): void {
    const nowMs = this.#options.clock.nowMs();
    for (;;) {
      const oldest = this.#byAge.first;
      if (oldest === undefined || nowMs - oldest.sinceMs < waitMs) break;
      this.#counts.expired += 1;
      const message = `No place became free within ${waitMs} ms (waitMs): ${this.#places} are taken.`;
      oldest.refuse(overloaded(message, { retryAfterS: this.#retryAfterS(oldest, nowMs) }));
      this.#leftQueue(oldest);
    }
    this.#watchAge(nowMs);
  }

  #numberAll(): void {
    if (this.#isNumbered) return;
    this.#isNumbered = true;
    let position = 0;
    const served = new Map<TenantPlaces, number>();
    for (const priority of priorities) {
      const order = this.#queues[priority].inOrder((tenant) => served.get(tenant) ?? tenant.served);
      for (const entry of order) {
        entry.numbered = position += 1;
        served.set(entry.tenant, this.#counts.admitted + position);
      }
    }
  }

  // --- tenants

  #tenantOf(name: string): TenantPlaces {
    const known = this.#tenants.get(name);
    if (known !== undefined) return known;
    const tenant = { name, held: 0, waiting: 0, served: this.#remembered.of(name) };
    this.#tenants.set(name, tenant);
    return tenant;
  }

  #forget({ held, name, served, waiting }: TenantPlaces): void {
    if (held > 0 || waiting > 0) return;
    this.#tenants.delete(name);
    if (served > 0) this.#remembered.set(name, served);
  }
}

function retryAfterS(expectedWaitMs: number): number {
  return Math.min(Math.max(1, Math.ceil(expectedWaitMs / 1000)), maxRetryAfterS);
}
