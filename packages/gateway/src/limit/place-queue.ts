/** One request that waits for a place of its tenant, key or user. */
export interface PlaceWaiter {
  /** Called when it may be its turn: it asks the store again. */
  readonly retry: () => void;
}

/** The part of all waiting requests that those of one tenant may be: others find room, whatever it sends. */
const tenantPart = 2 / 3;

/**
 * The requests that wait for places, in the order in which they came, by the key of the quota. At most `maxWaiting` wait,
 * and of one tenant at most two thirds of that.
 */
export class PlaceQueue {
  readonly #waiting = new Map<string, Set<PlaceWaiter>>();
  /** By the beginning of their keys, which names the tenant. */
  readonly #ofTenants = new Map<string, number>();
  readonly #maxWaiting: number;
  readonly #maxOfTenant: number;
  #count = 0;

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
    this.#maxOfTenant = Math.ceil(maxWaiting * tenantPart);
  }

  get size(): number {
    return this.#count;
  }

  /** Whether somebody waits for a place of one of these keys. */
  has(keys: readonly string[]): boolean {
    return this.#count > 0 && keys.some((key) => this.#waiting.has(key));
  }

  /** Whether the waiter is the first of its queue. */
  isFirst(key: string, waiter: PlaceWaiter): boolean {
    const [first] = this.#waiting.get(key) ?? [];
    return first === undefined || first === waiter;
  }

  /** Adds a waiter behind the others; `false`: too many wait already. */
  add(key: string, waiter: PlaceWaiter): boolean {
    const queue = this.#waiting.get(key);
    if (queue?.has(waiter) === true) return true;
    const tenant = tenantOf(key);
    const ofTenant = this.#ofTenants.get(tenant) ?? 0;
    if (this.#count >= this.#maxWaiting || ofTenant >= this.#maxOfTenant) return false;
    this.#count += 1;
    this.#ofTenants.set(tenant, ofTenant + 1);
    if (queue === undefined) this.#waiting.set(key, new Set([waiter]));
    else queue.add(waiter);
    return true;
  }

  remove(key: string, waiter: PlaceWaiter): void {
    const queue = this.#waiting.get(key);
    if (queue?.delete(waiter) !== true) return;
    this.#count -= 1;
    const tenant = tenantOf(key);
    const ofTenant = (this.#ofTenants.get(tenant) ?? 0) - 1;
    if (ofTenant > 0) this.#ofTenants.set(tenant, ofTenant);
    else this.#ofTenants.delete(tenant);
    if (queue.size === 0) this.#waiting.delete(key);
  }

  /** A place of one of these keys may be free: who has waited longest asks. */
  wake(keys: Iterable<string>): void {
    if (this.#count === 0) return;
    for (const key of keys) {
      const [first] = this.#waiting.get(key) ?? [];
      first?.retry();
    }
  }

  /** All who wait ask again: their limits may be others now. */
  wakeEach(): void {
    for (const queue of this.#waiting.values()) for (const waiter of queue) waiter.retry();
  }

  /** Another process may have given back a place. */
  wakeAll(): void {
    this.wake([...this.#waiting.keys()]);
  }
}

/** The tag that the keys of a tenant's quotas begin with. */
function tenantOf(key: string): string {
  return key.slice(0, key.indexOf('}') + 1);
}
