import type { ConnectionOptions } from 'node:tls';
import {
  type BudgetClaim,
  type LeaseRequest,
  type LimitAnswer,
  type LimitStore,
  type Quota,
  type QuotaState,
  SpillwayError,
} from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { readRedisUrl } from '../connection/redis-address.ts';
import { RedisConnection } from '../connection/redis-connection.ts';
import { RedisFailure } from '../connection/redis-failure.ts';
import { type LimitCall, LimitKeys, runsOf } from './limit-call.ts';
import { limitScript } from './limit-script.ts';

/** Options of {@link openRedisLimits}. */
export interface RedisLimitsOptions {
  /**
   * Where Redis is: `redis://HOST:PORT`, `rediss://` with TLS, or `redis+sentinel://HOST:PORT,HOST:PORT/NAME`, which asks
   * sentinels for the master of that name. Each may have `USER:PASSWORD@`, and a `/DATABASE` at the end. Default ports: 6379,
   * of sentinels 26379.
   */
  readonly url: string;
  /** The password, instead of one in the URL. It is in no error. */
  readonly password?: string | undefined;
  /** What TLS trusts, such as `ca`, and with which certificate it answers. Default: as Node. Only with `rediss`. */
  readonly tls?: ConnectionOptions | undefined;
  /**
   * Stands before each key: 0 to 64 characters, no braces. Programs with one prefix in one database share their limits.
   * Default: `spillway:`.
   */
  readonly prefix?: string;
  /** How long a call may take, in milliseconds: 10 to 60,000. Beyond it rejects, and the connection is made anew. Default: 500. */
  readonly deadlineMs?: number;
  /** The calls that may wait for an answer at once: 1 to 1,000,000. One more rejects at once. Default: 10,000. */
  readonly maxCalls?: number;
  /**
   * Called when Redis fails after it worked, and when it works after it failed: with what is wrong, without secrets, or
   * `undefined`. Not called before the first connection succeeds or fails, and must not throw.
   */
  readonly onChange?: (problem: string | undefined) => void;
}

/** Limits on a Redis. */
export interface RedisLimits extends LimitStore {
  /** What is wrong with Redis, without secrets; `undefined`: nothing, as far as is known. */
  readonly problem: string | undefined;
}

/** The quotas and leases of one call; more are asked for in several, so that no one else waits for long. */
const maxNames = 50;

/**
 * Opens limits that all processes on one Redis share. Each call is one script, which Redis runs whole and by its own clock.
 * Needs Redis 5 or newer, Valkey, or what speaks their language; `maxmemory-policy` has to be `noeviction`, because what is
 * evicted is given out again. The connection is made at once and kept: while it is away calls reject with `limits_failed`, and
 * nothing waits for it.
 *
 * In a cluster, what stands in the first braces of names decides where they are: a lease and its quotas need the same,
 * such as `{clinic}tokens`, or none.
 *
 * @throws {SpillwayError} `invalid_option`.
 * @example
 * ```ts
 * import { openRedisLimits } from '@spillway/redis';
 *
 * const limits = openRedisLimits({ url: 'redis://127.0.0.1:6379' });
 * const day = { kind: 'budget', key: 'clinic:day', limit: 200_000, window: 'day' } as const;
 * const signal = AbortSignal.timeout(1000);
 * const lease = crypto.randomUUID();
 * const budgets = [{ quota: day, spent: 0, want: 1000, atLeast: 256 }];
 * const answer = await limits.open({ lease, leaseMs: 30_000, rates: [], places: [], budgets }, signal);
 * if (answer.isGranted) await limits.settle(lease, [{ quota: day, spent: 740, want: 0, atLeast: 0 }], signal);
 * await limits.close();
 * ```
 */
export function openRedisLimits(options: RedisLimitsOptions): RedisLimits {
  return new LimitsOnRedis(options);
}

class LimitsOnRedis implements RedisLimits {
  readonly #connection: RedisConnection;
  readonly #keys: LimitKeys;
  readonly #deadlineMs: number;

  constructor({
    deadlineMs = 500,
    maxCalls = 10_000,
    onChange = () => undefined,
    password,
    prefix = 'spillway:',
    tls,
    url,
  }: RedisLimitsOptions) {
    const address = readRedisUrl(url);
    if (prefix.length > 64 || /[{}]/.test(prefix))
      throw invalid(`prefix: expected at most 64 characters and no braces, got ${prefix}.`);
    if (!(deadlineMs >= 10 && deadlineMs <= 60_000))
      throw invalid(`deadlineMs: expected 10 to 60,000, got ${deadlineMs}.`);
    expectWhole('maxCalls', maxCalls, 1, 1_000_000);
    this.#keys = new LimitKeys(prefix);
    this.#deadlineMs = deadlineMs;
    this.#connection = new RedisConnection({
      address: password === undefined ? address : { ...address, password },
      tls,
      script: limitScript,
      probe: ['SET', `${prefix}probe`, '', 'PX', '1000'],
      deadlineMs,
      maxCalls,
      onChange: (problem) => onChange(problem?.message),
    });
  }

  get problem(): string | undefined {
    return this.#connection.problem?.message;
  }

  async open(request: LeaseRequest, signal: AbortSignal): Promise<LimitAnswer> {
    const { budgets, places, rates } = request;
    const reply = await this.#run(this.#keys.open(request), signal);
    return answerOf(reply, [...rates, ...places, ...budgets.map(({ quota }) => quota)]);
  }

  async extend(
    lease: string,
    leaseMs: number,
    claims: readonly BudgetClaim[],
    signal: AbortSignal,
  ): Promise<LimitAnswer> {
    const reply = await this.#run(this.#keys.ofLease('extend', lease, leaseMs, claims), signal);
    return answerOf(
      reply,
      claims.map(({ quota }) => quota),
    );
  }

  async settle(lease: string, claims: readonly BudgetClaim[], signal: AbortSignal): Promise<void> {
    await this.#run(this.#keys.ofLease('settle', lease, 1000, claims), signal);
  }

  async renew(leases: readonly string[], leaseMs: number, signal: AbortSignal): Promise<void> {
    const runs = runsOf(leases, (lease) => lease, maxNames);
    await Promise.all(runs.map((run) => this.#run(this.#keys.renew(run, leaseMs), signal)));
  }

  async read(quotas: readonly Quota[], signal: AbortSignal): Promise<readonly QuotaState[]> {
    const runs = runsOf(Array.from(quotas.entries()), ([, { key }]) => key, maxNames);
    const states = await Promise.all(
      runs.map(async (run) => {
        const call = this.#keys.read(run.map(([, quota]) => quota));
        const [, ...numbers] = await this.#run(call, signal);
        return run.map(([index], at) => ({ index, state: stateOf(numbers.slice(3 * at)) }));
      }),
    );
    return states
      .flat()
      .toSorted((a, b) => a.index - b.index)
      .map(({ state }) => state);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #run({ keys, words }: LimitCall, signal: AbortSignal): Promise<readonly number[]> {
    const endMs = performance.now() + this.#deadlineMs;
    for (;;) {
      const reply = await this.#runOnce(keys, words, signal);
      // 2: it has forgotten many silent leases, and there may be more of them. It may be asked again: nothing was done twice.
      if (reply[0] !== 2) return reply;
      if (performance.now() > endMs)
        throw failed(
          'Redis: too many leases have fallen silent at once; what they had comes back with the next calls.',
        );
    }
  }

  async #runOnce(
    keys: readonly string[],
    words: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    if (this.#connection.isClosed && !signal.aborted) throw closed();
    try {
      const reply = await this.#connection.run(keys, words, signal);
      const numbers = Array.isArray(reply) ? reply.map(Number) : [];
      if (numbers.length === 0 || numbers.some(Number.isNaN)) throw failed(strange);
      return numbers;
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      throw this.#connection.isClosed ? closed() : failed(error.message, error);
    }
  }
}

/** It is somebody else who answers, or something between. */
const strange = 'Redis: expected the numbers that its script returns, got something else.';

function answerOf([isGranted, ...numbers]: readonly number[], quotas: readonly Quota[]): LimitAnswer {
  if (isGranted === 1) {
    const slices = quotas.filter(({ kind }) => kind === 'budget').length;
    const told = quotas.filter(({ kind }) => kind !== 'places');
    if (numbers.length < slices + 3 * told.length) throw failed(strange);
    const states = told.map((_, at) => stateOf(numbers.slice(slices + 3 * at)));
    return { isGranted: true, reserved: numbers.slice(0, slices), states };
  }
  const [number = 0, ...state] = numbers;
  const quota = quotas[number - 1];
  if (quota === undefined) throw failed(`Redis names quota ${number} of ${quotas.length} in a refusal.`);
  return { isGranted: false, quota, state: stateOf(state), retryAfterMs: orAbsent(state[3]) };
}

function stateOf([used = 0, reserved = 0, resetMs]: readonly number[]): QuotaState {
  return { used, reserved, resetMs: orAbsent(resetMs) };
}

/** -1 stands for what there is not. */
function orAbsent(ms: number | undefined): number | undefined {
  return ms === -1 ? undefined : ms;
}

function closed(): SpillwayError {
  return new SpillwayError('limits_closed', 'The store of limits is closed.');
}

function failed(message: string, cause?: Error): SpillwayError {
  return new SpillwayError('limits_failed', message, cause && { cause });
}
