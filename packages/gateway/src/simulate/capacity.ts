import { z } from 'zod';
import { BehaviourError } from './behaviour.ts';

const count = z.coerce.number().int().max(1_000_000_000);

/**
 * How much is done at once, for one model or for all together. Beyond `places` streams become slower, as they share what
 * there is; beyond `most` requests are refused.
 */
const capacitySchema = z.strictObject({
  /** A model's name without its behaviour. Default: all models together. */
  model: z.string().min(1).max(200).optional(),
  /** So many streams at once go at their full speed. Default: any number. */
  places: count.min(1).optional(),
  /** One more than these is refused; 0: all are. Default: nobody is. */
  most: count.min(0).optional(),
  /** Of a refusal. */
  status: z.coerce.number().int().min(400).max(599).default(429),
  /** Seconds: the header `Retry-After` of a refusal, and when the `x-ratelimit-…` say that all is free again. */
  retryAfter: count.min(0).default(1),
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

/** What the provider would still take, for its `x-ratelimit-…` headers. */
export interface Room {
  readonly limit: number;
  readonly remaining: number;
  readonly resetS: number;
}

/** The streams that share a capacity. */
class Pool {
  capacity: Capacity | undefined;
  taken = 0;

  get isFull(): boolean {
    return this.taken >= (this.capacity?.most ?? Infinity);
  }

  /** How many streams there are for each place, 1 at least. */
  get share(): number {
    const { places = Infinity, slow = 1 } = this.capacity ?? {};
    return Math.max(1, this.taken / places) * slow;
  }

  get room(): Room | undefined {
    const { most: limit, retryAfter } = this.capacity ?? {};
    if (limit === undefined) return undefined;
    return { limit, remaining: Math.max(0, limit - this.taken), resetS: retryAfter ?? 0 };
  }
}

/** A request's part of what is done at once, until it leaves. */
export class Place {
  readonly #pools: readonly Pool[];
  readonly #onLeave: () => void;
  /** Whose bound refuses the request, which then has no part. */
  readonly refusal: Capacity | undefined;

  constructor(pools: readonly Pool[], onLeave: () => void) {
    this.#pools = pools;
    this.refusal = pools.find((pool) => pool.isFull)?.capacity;
    this.#onLeave = this.refusal === undefined ? onLeave : () => undefined;
    if (this.refusal === undefined) for (const pool of pools) pool.taken += 1;
  }

  /** So many times as long everything takes now. 1 at least. */
  get share(): number {
    return Math.max(...this.#pools.map((pool) => pool.share));
  }

  /** Of the pool that has the least. `undefined`: nobody is refused. */
  get room(): Room | undefined {
    const rooms = this.#pools.map(({ room }) => room).filter((room) => room !== undefined);
    return rooms.toSorted((a, b) => a.remaining - b.remaining)[0];
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
