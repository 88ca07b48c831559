/** What a lease has of one budget. */
export interface LeasePart {
  /** In all, as far as it was told. */
  spent: number;
  reserved: number;
  /** What of it was told in the window that lasts until `endMs`: as much may be taken back of that. */
  inWindow: number;
  /** By the date. */
  endMs: number;
}

/** A lease, or what is remembered of one that is gone. */
export interface Lease {
  readonly name: string;
  expiresAtMs: number;
  leaseMs: number;
  /** The keys of its places. */
  places: readonly string[];
  /** By the key of the budget. */
  readonly parts: Map<string, LeasePart>;
  /** What its first call was given, to answer it again. */
  granted: readonly number[];
  isSettled: boolean;
}

/** What happened to a gone lease may be asked again for so long. */
const rememberedMs = 3_600_000;
/** The gone leases that are remembered; beyond that the oldest is forgotten. */
const maxRemembered = 20_000;

/** Leases that expire equally late after their last word, the first to expire first. */
interface Row {
  readonly leases: Map<string, Lease>;
  /** No lease of the row expires before it. */
  nextMs: number;
}

/**
 * The leases of a store, and for an hour those that are gone. To find those that have expired costs one comparison a call:
 * leases of the same `leaseMs` expire in the order of their last words.
 */
export class LeaseBook {
  readonly #live = new Map<string, Lease>();
  /** By `leaseMs`: a program has one or a few. */
  readonly #rows = new Map<number, Row>();
  /** The oldest first; `expiresAtMs` says until when it is remembered. */
  readonly #gone = new Map<string, Lease>();

  get size(): number {
    return this.#live.size + this.#gone.size;
  }

  live(name: string): Lease | undefined {
    return this.#live.get(name);
  }

  gone(name: string): Lease | undefined {
    return this.#gone.get(name);
  }

  settled(name: string): Lease | undefined {
    const lease = this.#gone.get(name);
    return lease?.isSettled === true ? lease : undefined;
  }

  /** Opens a lease, or one that is gone again: with what it has spent, and nothing else. */
  open(name: string, leaseMs: number, nowMs: number): Lease {
    const lease: Lease = {
      name,
      expiresAtMs: nowMs + leaseMs,
      leaseMs,
      places: [],
      parts: this.#gone.get(name)?.parts ?? new Map<string, LeasePart>(),
      granted: [],
      isSettled: false,
    };
    this.#gone.delete(name);
    this.#live.set(name, lease);
    this.#enter(lease);
    return lease;
  }

  renew(lease: Lease, leaseMs: number, nowMs: number): void {
    this.#leave(lease);
    lease.leaseMs = leaseMs;
    lease.expiresAtMs = nowMs + leaseMs;
    this.#enter(lease);
  }

  /** Ends a lease. Who calls has given back what it had. */
  end(lease: Lease, isSettled: boolean, nowMs: number): void {
    this.#leave(lease);
    this.#live.delete(lease.name);
    lease.isSettled = isSettled;
    lease.expiresAtMs = nowMs + rememberedMs;
    this.#gone.set(lease.name, lease);
    // Many at once: to find the oldest of a map costs what was deleted before it.
    if (this.#gone.size > maxRemembered) this.forget(nowMs, maxRemembered * 0.9);
  }

  /** Calls back for each lease that has expired; it has to end it. */
  expire(nowMs: number, expired: (lease: Lease) => void): void {
    for (const [leaseMs, row] of this.#rows) {
      if (row.nextMs > nowMs) continue;
      for (const lease of row.leases.values()) {
        row.nextMs = lease.expiresAtMs;
        if (row.nextMs > nowMs) break;
        expired(lease);
      }
      if (row.leases.size === 0) this.#rows.delete(leaseMs);
    }
  }

  /** Forgets gone leases whose time is over, and the oldest beyond a number. */
  forget(nowMs: number, atMost = Infinity): void {
    for (const [name, { expiresAtMs }] of this.#gone) {
      if (expiresAtMs > nowMs && this.#gone.size <= atMost) return;
      this.#gone.delete(name);
    }
  }

  #enter(lease: Lease): void {
    const { expiresAtMs, leaseMs, name } = lease;
    const row = this.#rows.get(leaseMs);
    if (row === undefined) this.#rows.set(leaseMs, { leases: new Map([[name, lease]]), nextMs: expiresAtMs });
    else row.leases.set(name, lease);
  }

  #leave({ leaseMs, name }: Lease): void {
    this.#rows.get(leaseMs)?.leases.delete(name);
  }
}
