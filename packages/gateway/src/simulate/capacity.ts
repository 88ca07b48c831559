import { z } from 'zod';
import { BehaviourError } from './behaviour.ts';

const count = z.coerce.number().int().max(1_000_000_000);

/**
 * How much is done, for one model or for all together. Beyond `places` streams become slower, as they share what
 * there is; beyond `most` and `perMinute` requests are refused.
 */
const capacitySchema = z.strictObject({
  /** A model's name without its behaviour. Default: all models together. */
  model: z.string().min(1).max(200).optional(),
  /** So many streams at once go at their full speed. Default: any number. */
  places: count.min(1).optional(),
  /** One more than these is refused; 0: all are. Default: nobody is. */
  most: count.min(0).optional(),
  /** Of such a refusal. */
  status: z.coerce.number().int().min(400).max(599).default(429),
  /** Of such a refusal: seconds for the header `Retry-After`. */
  retryAfter: count.min(0).default(1),
  /** Requests a minute, which come back one by one; one more is refused with 429. Default: any number. */
  perMinute: count.min(1).optional(),
  /** A brown-out: everything takes so many times as long. */
  slow: z.coerce.number().min(1).max(1_000_000).default(1),
});

export type Capacity = z.infer<typeof capacitySchema>;

/**
 * Reads a capacity: of a request's body, or of `name=value` pairs.
 *
 * @throws {BehaviourError}
 */
export function readCapacity(values: unknown): Capacity {
  const result = capacitySchema.safeParse(values);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue?.path.join('.') ?? '';
  throw new BehaviourError(
    issue?.code === 'unrecognized_keys'
      ? `${issue.keys.join(', ')}: no such part of a capacity; expected ${Object.keys(capacitySchema.shape).join(', ')}`
      : `${field === '' ? 'A capacity' : field}: ${issue?.message ?? ''}.`,
  );
}

/** What is left of the requests of a minute. */
export interface Budget {
  readonly limit: number;
  readonly remaining: number;
  /** Until all are there again, in milliseconds. */
  readonly resetMs: number;
}

/** Why a request is not taken. */
export interface CapacityRefusal {
  readonly status: number;
  readonly retryAfterS: number;
  readonly message: string;
}

/** The requests that share a capacity. */
class Pool {
  #capacity: Capacity | undefined;
  /** The requests of a minute that are left, with fractions, as they were at that time. */
  #left = Infinity;
  #atMs = 0;
  taken = 0;

  get capacity(): Capacity | undefined {
    return this.#capacity;
  }

  set capacity(capacity: Capacity) {
    this.#capacity = capacity;
    this.#left = capacity.perMinute ?? Infinity;
  }

  /** How many streams there are for each place, 1 at least. */
  get share(): number {
    const { places = Infinity, slow = 1 } = this.#capacity ?? {};
    return Math.max(1, this.taken / places) * slow;
  }

  refusalAt(nowMs: number): CapacityRefusal | undefined {
    const { most = Infinity, perMinute = Infinity, retryAfter = 0, status = 429 } = this.#capacity ?? {};
    if (this.taken >= most) {
      const message = `The simulated provider does at most ${most} at once.`;
      return { status, retryAfterS: retryAfter, message };
    }
    if (this.#left !== Infinity) {
      this.#left = Math.min(perMinute, this.#left + ((nowMs - this.#atMs) * perMinute) / 60_000);
      this.#atMs = nowMs;
    }
    if (this.#left >= 1) return undefined;
    const message = `The simulated provider takes ${perMinute} requests a minute.`;
    return { status: 429, retryAfterS: Math.ceil(((1 - this.#left) * 60) / perMinute), message };
  }

  take(): void {
    this.taken += 1;
    this.#left -= 1;
  }

  get budget(): Budget | undefined {
    const { perMinute: limit } = this.#capacity ?? {};
    if (limit === undefined) return undefined;
    return { limit, remaining: Math.floor(this.#left), resetMs: ((limit - this.#left) * 60_000) / limit };
  }
}

/** A request's part of what is done at once, until it leaves. */
export class Place {
  readonly #pools: readonly Pool[];
  readonly #onLeave: () => void;
  /** Why the request has no part. */
  readonly refusal: CapacityRefusal | undefined;
  /** Of the pool that has the least left, as it was when the request came. `undefined`: it is not counted. */
  readonly budget: Budget | undefined;

  constructor(pools: readonly Pool[], onLeave: () => void) {
    const nowMs = performance.now();
    const refusal = pools.map((pool) => pool.refusalAt(nowMs)).find((each) => each !== undefined);
    if (refusal === undefined) for (const pool of pools) pool.take();
    const budgets = pools.map(({ budget }) => budget).filter((each) => each !== undefined);
    this.#pools = pools;
    this.#onLeave = onLeave;
    this.refusal = refusal;
    this.budget = budgets.toSorted((a, b) => a.remaining - b.remaining)[0];
  }

  /** So many times as long everything takes now. 1 at least. */
  get share(): number {
    return Math.max(...this.#pools.map((pool) => pool.share));
  }

  /** Once, when the request is over. */
  leave(): void {
    if (this.refusal === undefined) for (const pool of this.#pools) pool.taken -= 1;
    this.#onLeave();
  }
}

/** So many models may have a capacity of their own. */
const maxModels = 1000;

/** What the provider does at once: of all models together, and of each. */
export class Capacities {
  readonly #all = new Pool();
  /** Those that have a capacity, or a request. */
  readonly #models = new Map<string, Pool>();

  /**
   * Sets the capacity of all together or of one model, in place of the one before. It counts at once, also for streams that run; those that are too
   * many now stay, and are slower.
   *
   * @throws {BehaviourError} for one model too many.
   */
  set(capacity: Capacity): void {
    const { model } = capacity;
    const pool = model === undefined ? this.#all : this.#poolOf(model);
    const configured = [...this.#models.values()].filter((other) => other.capacity !== undefined);
    if (model !== undefined && pool.capacity === undefined && configured.length >= maxModels) {
      throw new BehaviourError(`model: expected at most ${maxModels} models with a capacity`);
    }
    pool.capacity = capacity;
  }

  /** Gives a request its part, or refuses it. Not for a name with behaviour: a model's name is what is before the colon. */
  enter(model: string): Place {
    const pool = this.#poolOf(model);
    return new Place([this.#all, pool], () => {
      if (pool.capacity === undefined && pool.taken === 0) this.#models.delete(model);
    });
  }

  report(): { readonly taken: number; readonly capacities: readonly (Capacity & { taken: number })[] } {
    const pools = [this.#all, ...this.#models.values()];
    const capacities = pools.flatMap(({ capacity, taken }) =>
      capacity === undefined ? [] : [{ ...capacity, taken }],
    );
    return { taken: this.#all.taken, capacities };
  }

  #poolOf(model: string): Pool {
    const pool = this.#models.get(model) ?? new Pool();
    this.#models.set(model, pool);
    return pool;
  }
}
